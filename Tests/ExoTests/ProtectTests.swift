import ExoABI
import Testing

@testable import Exo

/// Changing what pages allow: many in one call, all or none.
@Suite struct ProtectTests {
  /// The fourth page is the first of another table.
  private static let page: UInt64 = 0x5f_d000
  private static let count: UInt64 = 6

  private func bench() throws -> (KernelBench, EnvironmentID) {
    let bench = try KernelBench()
    let id = try bench.domain()
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, Self.count, by: id)
    try bench.call(EXO_CALL_map, UInt64(memory.result), 0, Self.page, Self.count, 3, by: id)
    return (bench, id)
  }
  private func entries(_ bench: KernelBench, _ id: EnvironmentID) -> [PageTableEntry] {
    (0..<Self.count).map { bench.entry(Self.page + $0 << 12, of: id) }
  }

  @Test func everyEntryOfTheRangeChangesAndNoOther() throws {
    let (bench, id) = try bench()
    let before = entries(bench, id)
    try bench.call(EXO_CALL_protect, Self.page + 0x1000, 4, 1, by: id)
    for (index, entry) in entries(bench, id).enumerated() {
      #expect(entry.rights == ((1...4).contains(index) ? .read : [.read, .write]))
      #expect(entry.granted == before[index].granted && entry.address == before[index].address)
    }
    try bench.call(EXO_CALL_protect, Self.page, Self.count, 0, by: id)
    #expect(entries(bench, id).allSatisfy { !$0.isPresent && $0.isMapped })
    try bench.call(EXO_CALL_protect, Self.page, Self.count, 3, by: id)
    #expect(entries(bench, id) == before)
    #expect(bench.kernel.checkInvariants() == [])
  }

  @Test func whatTheHardwareNotedStays() throws {
    let (bench, id) = try bench()
    let slot = try #require(bench.slot(Self.page, of: id))
    bench.kernel.memory.updateEntry(at: slot) {
      PageTableEntry(bits: $0.bits | PageTableEntry.accessed | PageTableEntry.dirty)
    }
    try bench.call(EXO_CALL_protect, Self.page, Self.count, 1, by: id)
    let marks = PageTableEntry.accessed | PageTableEntry.dirty
    #expect(bench.entry(Self.page, of: id).bits & marks == marks)
    #expect(bench.entry(Self.page + 0x1000, of: id).bits & marks == 0)
  }

  @Test func aRefusalChangesNothing() throws {
    let (bench, id) = try bench()
    let before = entries(bench, id)
    func refused(_ refusal: Refusal, pages: UInt64, rights: UInt64) {
      #expect(throws: refusal) { try bench.call(EXO_CALL_protect, Self.page, pages, rights, by: id) }
      #expect(entries(bench, id) == before)
    }
    refused(.absent, pages: Self.count + 1, rights: 1)
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, 1, by: id)
    let narrow = try bench.call(EXO_CALL_capability_derive, UInt64(memory.result), 0, 1, 1, by: id)
    try bench.call(EXO_CALL_map, UInt64(narrow.result), 0, Self.page + Self.count << 12, 1, 1, by: id)
    refused(.notPermitted, pages: Self.count + 1, rights: 3)
    try bench.call(EXO_CALL_guarantee, Self.page + 0x4000, 1, 1, by: id)
    #expect(throws: Refusal.busy) { try bench.call(EXO_CALL_protect, Self.page, Self.count, 1, by: id) }
    #expect(bench.entry(Self.page, of: id) == before[0])
    #expect(throws: Refusal.absent) { try bench.call(EXO_CALL_protect, 0x70_0000_0000, 1, 1, by: id) }
    #expect(bench.kernel.checkInvariants() == [])
  }

  /// An entry of a vector that is refused leaves those before it done.
  @Test func aVectorStopsAtWhatIsRefused() throws {
    let (bench, id) = try bench()
    let vector = bench.entry(Self.page, of: id).address.value
    for (index, place) in [Self.page + 0x1000, Self.page + 0x4000, 0x70_0000_0000].enumerated() {
      let at = vector + UInt64(index) * 32
      bench.kernel.memory.store(place, PhysicalAddress(at))
      bench.kernel.memory.store(1 | 1 << 32, PhysicalAddress(at + 8))
    }
    let answer = try bench.call(EXO_CALL_page_vector, UInt64(EXO_VECTOR_PROTECT), Self.page, 3, by: id)
    #expect(answer.result == -Int64(EXO_ENOENT) && answer.values.0 == 2)
    let writable = entries(bench, id).map { $0.rights.contains(.write) }
    #expect(writable == [true, false, true, true, false, true])
  }

  /// The frames of what was lowered: neighbours are one run, whatever order they came in.
  @Test func framesAreCollectedAsRuns() {
    func runs(_ numbers: [UInt32]) -> [Range<UInt32>] {
      var runs = FrameRuns()
      for number in numbers { runs.append(Frame(number)) }
      return runs.sorted.map { $0.first.number..<$0.first.number + UInt32($0.count) }
    }
    #expect(runs([]) == [])
    #expect(runs([5, 6, 7]) == [5..<8])
    #expect(runs([9, 7, 8, 3]) == [3..<4, 7..<10])
    #expect(runs([4, 5, 4, 9]) == [4..<6, 9..<10])
    var random = Randomness(seed: 7)
    for _ in 0..<200 {
      let numbers = (0..<random.below(40)).map { _ in UInt32(random.below(60)) }
      let found = runs(numbers)
      #expect(found.flatMap { Array($0) } == Set(numbers).sorted())
      #expect(zip(found, found.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
    }
  }
}
