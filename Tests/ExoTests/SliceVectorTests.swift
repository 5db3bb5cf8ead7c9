import Testing

@testable import Exo

@Suite struct SliceVectorTests {
  private let owner = EnvironmentID(7)

  /// One slot is one turn in a round, however eager its owner, while somebody waits who has none.
  @Test func slotsWithoutAnOwnerAreForThoseWhoWait() {
    var vector = SliceVector()
    vector.bind(3..<4, to: owner)
    let turns = (0..<SliceVector.count).compactMap { _ in vector.next(othersWait: true) { _ in true } }
    #expect(turns.map(\.environment) == [owner])
  }

  @Test func ownersHaveTheTimeThatNobodyWaitsFor() {
    var vector = SliceVector()
    vector.bind(3..<4, to: owner)
    for _ in 0..<10 {
      let next = vector.next(othersWait: false) { _ in true }
      #expect(next?.environment == owner)
    }
    let none = vector.next(othersWait: false) { _ in false }
    #expect(none == nil)
  }

  /// So many slots of a processor have owners, and no more.
  @Test func aShareCannotBeOwned() throws {
    let bench = try KernelBench()
    bench.kernel.sliceOwners = [Array(repeating: nil, count: SliceVector.count)]
    let id = try bench.domain()
    _ = try bench.kernel.allocateSlices(processor: 0, first: nil, count: SliceVector.ownable, for: id)
    #expect(throws: Refusal.noSpace) {
      try bench.kernel.allocateSlices(processor: 0, first: nil, count: 1, for: id)
    }
    #expect(throws: Refusal.noSpace) {
      try bench.kernel.allocateSlices(processor: 0, first: SliceVector.count - 1, count: 1, for: id)
    }
  }
}
