import Testing

@testable import LibOSHost

@Suite struct AddressRangesTests {
  /// Takes and gives at random, and holds every range against all others that are out.
  @Test(arguments: 1...8) func rangesNeverOverlap(seed: UInt64) {
    var random = Randomness(state: seed)
    let table = UnsafeMutablePointer<AddressRanges.Free>.allocate(capacity: AddressRanges.tableEntries)
    defer { table.deallocate() }
    var ranges = AddressRanges(region: 0x1000..<0x100000, table: table)
    var out: [Range<UInt>] = []
    for _ in 0..<4000 {
      if Bool.random(using: &random) || out.isEmpty {
        let size = UInt.random(in: 1...64, using: &random) * 16
        let alignment: UInt = 16 << UInt.random(in: 0...6, using: &random)
        let offset = UInt.random(in: 0...3, using: &random) * 16
        guard let start = ranges.take(size: size, alignment: alignment, offset: offset) else { continue }
        let new = start..<(start + size)
        #expect((start + offset) % alignment == 0)
        #expect(new.lowerBound >= 0x1000 && new.upperBound <= 0x100000)
        #expect(!out.contains { $0.overlaps(new) })
        out.append(new)
      } else {
        let old = out.remove(at: Int.random(in: 0..<out.count, using: &random))
        ranges.give(start: old.lowerBound, size: UInt(old.count))
      }
    }
    // All given back and nothing forgotten: the region is whole again.
    for old in out { ranges.give(start: old.lowerBound, size: UInt(old.count)) }
    #expect(ranges.take(size: 0xff000, alignment: 16, offset: 0) == 0x1000)
  }

  @Test func aFullTableForgetsAddressesOnly() {
    let table = UnsafeMutablePointer<AddressRanges.Free>.allocate(capacity: AddressRanges.tableEntries)
    defer { table.deallocate() }
    var ranges = AddressRanges(region: 0..<UInt.max / 2, table: table)
    let all = (0..<1000).map { _ in ranges.take(size: 16, alignment: 16, offset: 0)! }
    for start in stride(from: 0, to: 1000, by: 2) { ranges.give(start: all[start], size: 16) }
    var again: Set<UInt> = []
    for _ in 0..<1000 { again.insert(ranges.take(size: 16, alignment: 16, offset: 0)!) }
    #expect(again.count == 1000)
    #expect(again.isDisjoint(with: stride(from: 1, to: 1000, by: 2).map { all[$0] }))
  }

  @Test func aRegionUsedUpRefuses() {
    let table = UnsafeMutablePointer<AddressRanges.Free>.allocate(capacity: AddressRanges.tableEntries)
    defer { table.deallocate() }
    var ranges = AddressRanges(region: 0x1000..<0x2000, table: table)
    #expect(ranges.take(size: 0x1001, alignment: 16, offset: 0) == nil)
    #expect(ranges.take(size: .max - 8, alignment: 16, offset: 0) == nil)
    #expect(ranges.take(size: 0x1000, alignment: 16, offset: 0) == 0x1000)
    #expect(ranges.take(size: 16, alignment: 16, offset: 0) == nil)
  }
}
