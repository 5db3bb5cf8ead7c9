import ExoABI
import Testing

@testable import LibOSHost

@Suite struct RegionRuleTests {
  @Test func instructionsHaveTheirForm() {
    var rule = RegionRule()
    rule.set(.r3, to: -2)
    rule.word(at: .r1, plus: 0x0403_0201, into: .r2)
    rule.less(.r4, .r5, into: .r6)
    rule.load(.newWord, into: .r7)
    rule.answer(.r6)
    #expect(
      rule.bytes == [
        0, 3, 0, 0, 0xfe, 0xff, 0xff, 0xff, 2, 2, 1, 0, 1, 2, 3, 4, 11, 6, 4, 5, 0, 0, 0, 0, 1, 7, 5, 0, 0,
        0, 0, 0, 13, 0, 6, 0, 0, 0, 0, 0,
      ])
    #expect(rule.count == 5)
  }

  @Test func whatIsPassedOverIsCounted() {
    var rule = RegionRule()
    rule.when(.r1) {
      $0.set(.r0, to: 1)
      $0.when(.r2) { $0.answer(.r0) }
    }
    rule.answer(.r7)
    // Three instructions behind the first skip, one behind the second.
    #expect(Array(rule.bytes[0..<8]) == [12, 0, 1, 0, 3, 0, 0, 0])
    #expect(Array(rule.bytes[16..<24]) == [12, 0, 2, 0, 1, 0, 0, 0])
    #expect(rule.count == 5)
  }
}

@Suite struct EnvironmentAnswerTests {
  @Test func endsAreTold() {
    #expect(EnvironmentEnd(code: Int64(EXO_ENDED_EXITED), 7, 0) == .exited(status: 7))
    #expect(EnvironmentEnd(code: Int64(EXO_ENDED_FAULTED), 14, 0x10) == .faulted(vector: 14, address: 0x10))
    #expect(EnvironmentEnd(code: Int64(EXO_ENDED_KILLED), 9, 0) == .killed(status: 9))
    #expect(EnvironmentEnd(code: Int64(EXO_ENDED_TIME_LIMIT), 0, 0) == .timeLimit)
    #expect(EnvironmentEnd(code: Int64(EXO_ENDED_MISUSED), 0, 0) == .misused)
    #expect(EnvironmentEnd(code: 99, 0, 0) == .other(99))
  }

  @Test func capabilitiesAreDescribed() {
    let frames = CapabilityDescription(kind: Int64(EXO_KIND_FRAMES), rights: 9, range: 5 << 32 | 100)
    #expect(frames.kind == .frames && frames.first == 100 && frames.count == 5)
    #expect(frames.rights == [.read, .grant])
    #expect(frames.contains(frame: 104) && !frames.contains(frame: 105) && !frames.contains(frame: 99))
    let region = CapabilityDescription(kind: Int64(EXO_KIND_REGION), rights: 3, range: 1 << 32 | 100)
    #expect(region.kind == .region && !region.contains(frame: 100))
  }
}

@Suite struct PageTableEntryTests {
  @Test func rightsAreThoseOfTheHardware() {
    let text = PageTableEntry(bits: 0x1_2345_6000 | 1 | 5 << 9)
    #expect(text.rights == [.read, .execute] && text.granted == [.read, .execute])
    #expect(text.physicalAddress == 0x1_2345_6000)
    let data = PageTableEntry(bits: 1 << 63 | 1 | 2 | 1 << 5 | 1 << 6 | 3 << 9)
    #expect(data.rights == [.read, .write] && data.isAccessed && data.isDirty && !data.isPinned)
    let withheld = PageTableEntry(bits: 1 << 63 | 3 << 9)
    #expect(withheld.rights == [] && !withheld.isPresent && withheld.isBound)
    #expect(!PageTableEntry(bits: 0).isBound)
  }

  @Test func theWindowIsWhereTheRootLinksToItself() {
    #expect(PageTableWindow.slot(of: 0x40_1000, level: 0) == UInt64(EXO_KIT_TABLES) + 0x401 * 8)
    // The word of a level is itself within the window's page for the level below.
    for level: UInt64 in 1...3 {
      let address: UInt64 = 0x1234_5678_9000
      let below = PageTableWindow.slot(of: address, level: level - 1)
      #expect(
        PageTableWindow.slot(of: below, level: 0) & ~0xfff == PageTableWindow.slot(of: address, level: level)
          & ~0xfff)
    }
  }
}

@Suite struct OwnSegmentTests {
  /// Two loaded segments and something else between them.
  @Test func segmentsAreWholePages() {
    var image = [UInt8](repeating: 0, count: 64 + 3 * 56)
    func put<T: FixedWidthInteger>(_ value: T, _ at: Int) {
      withUnsafeBytes(of: value.littleEndian) { image.replaceSubrange(at..<at + $0.count, with: $0) }
    }
    put(UInt64(64), 32)
    put(UInt16(56), 54)
    put(UInt16(3), 56)
    func header(
      _ index: Int, _ type: UInt32, _ flags: UInt32, _ address: UInt64, _ file: UInt64, _ size: UInt64
    ) {
      let at = 64 + index * 56
      put(type, at)
      put(flags, at + 4)
      put(address, at + 16)
      put(file, at + 32)
      put(size, at + 40)
    }
    header(0, 1, 5, 0x40_0000, 0x1800, 0x1800)
    header(1, 4, 4, 0x40_0200, 20, 20)
    header(2, 1, 6, 0x40_3100, 0x10, 0x1f01)
    let segments = image.withUnsafeBytes { Array(OwnSegments(header: $0.baseAddress!)) }
    #expect(
      segments == [
        OwnSegment(address: 0x40_0000, pages: 2, contentBytes: 0x1800, rights: [.read, .execute]),
        OwnSegment(address: 0x40_3000, pages: 3, contentBytes: 0x110, rights: [.read, .write]),
      ])
  }
}
