import Testing

@testable import Exo

/// The inverted page map when frames are mapped often, and the search for aligned frames.
@Suite struct FrameMappingTests {
  /// Random mappings of few frames, so that each crosses the number from which they are indexed, both ways.
  @Test func mappingsAreThoseAddedAndNotRemoved() {
    var random = Randomness(seed: KernelRun.seed)
    var table = FrameTable(count: 8)
    let taken = table.allocate(at: Frame(0), count: 3, kind: .data, owner: EnvironmentID(1))
    #expect(taken)
    var model: [FrameTable.Mapping: Frame] = [:]
    for step in 0..<6000 {
      let mapping = FrameTable.Mapping(
        environment: EnvironmentID(UInt32(random.below(3))),
        address: GuestAddress(UInt64(random.below(64)) << 12))
      // Phases of more and of less.
      let grows = step / 500 % 2 == 0 ? !random.oneIn(4) : random.oneIn(4)
      if grows, model[mapping] == nil {
        let frame = Frame(UInt32(random.below(3)))
        table.addMapping(mapping, to: frame)
        model[mapping] = frame
      } else if !grows {
        let frame = model.removeValue(forKey: mapping)
        let removed = table.removeMapping(mapping, from: frame ?? Frame(0))
        #expect(removed == (frame != nil))
      }
      if step % 50 == 0 {
        for number in 0..<UInt32(3) {
          let wanted = Set(model.filter { $0.value == Frame(number) }.keys)
          let listed = table.mappings(of: Frame(number))
          #expect(listed.count == wanted.count && Set(listed) == wanted)
        }
      }
    }
  }

  @Test func alignedRunsAreFoundAmongHoles() {
    for count in [64, 100, 257] {
      for alignment in [1, 2, 8, 16] {
        for wanted in [1, 3, 8, 40] {
          var random = Randomness(seed: UInt64(count * alignment + wanted))
          var table = FrameTable(count: count)
          for _ in 0..<6 {
            _ = table.allocate(
              at: Frame(UInt32(random.below(count))), count: 1, kind: .data, owner: EnvironmentID(1))
          }
          let first = stride(from: 0, through: count - wanted, by: alignment).first { start in
            (start..<start + wanted).allSatisfy { table.isFree(Frame(UInt32($0))) }
          }
          #expect(table.hasRun(wanted, alignment: alignment) == (first != nil))
          let found = table.allocate(wanted, alignment: alignment, kind: .data, owner: EnvironmentID(1))
          #expect(found?.number == first.map { UInt32($0) })
        }
      }
    }
  }
}
