import Testing

@testable import Exo

/// Line programs written by hand: what compilers seldom emit and what nobody should.
@Suite struct LineTests {
  // Opcodes of the header below: base 13, line base -3, range 12.
  private func special(line: Int, advance: Int) -> UInt8 { UInt8((line + 3) + 12 * advance + 13) }
  private func setAddress(_ value: UInt64) -> [UInt8] { [0, 9, 2] + ImageBuilder.little(value) }
  private let endSequence: [UInt8] = [0, 1, 1]

  @Test func everyInstructionMovesTheRegistersAsDefined() throws {
    let program: [UInt8] =
      setAddress(0x1000) + [3, 9, 1]  // line 10
      + [special(line: 2, advance: 4)]  // 0x1004: line 12
      + [2, 0x80, 1, 3, 0x7f, 1]  // 0x1084: line 11
      + [8, 1]  // 255 - 13 = 242, by 12: 0x1098
      + [9, 0x34, 0x12, 4, 2, 1]  // 0x22cc: file 2
      + [5, 7, 6, 7, 10, 11, 12, 3, 0, 3, 4, 1, 1, 3, 4, 1]  // column, flags, discriminator; line 15
      + [2, 16] + endSequence
    let table = try #require(LineTable(program4: program))
    let expected: [(UInt64, String, Int?)] = [
      (0x1000, "one.c", 10), (0x1003, "one.c", 10), (0x1004, "one.c", 12), (0x1083, "one.c", 12),
      (0x1084, "one.c", 11), (0x1097, "one.c", 11), (0x1098, "one.c", 11), (0x22cb, "one.c", 11),
      (0x22cc, "/usr/include/two.h", 15), (0x22db, "/usr/include/two.h", 15),
    ]
    for (address, file, line) in expected {
      let source = table.source(of: GuestAddress(address))
      #expect(source?.file == file && source?.line == line, "\(address)")
    }
    for address: UInt64 in [0xfff, 0x22dc] { #expect(table.source(of: GuestAddress(address)) == nil) }
  }

  @Test func droppedCodeIsNotFound() throws {
    let program: [UInt8] =
      setAddress(0) + [3, 9, 1, 2, 0x80, 0x80, 1] + endSequence  // 0..<0x4000, left by the linker
      + setAddress(0x2000) + [1, 2, 8] + endSequence
    let table = try #require(LineTable(program4: program))
    #expect(table.source(of: GuestAddress(0x1000)) == nil)
    #expect(table.source(of: GuestAddress(0x2000))?.line == 1)
  }

  @Test func lineZeroIsNoLine() throws {
    let table = try #require(LineTable(program4: setAddress(0x1000) + [3, 0x7f, 1, 2, 8] + endSequence))
    let source = try #require(table.source(of: GuestAddress(0x1000)))
    #expect(source.file == "one.c" && source.line == nil)
  }

  @Test func unitsOfUnknownVersionsAreSteppedOver() throws {
    let strange = ImageBuilder.little(6 as UInt32) + ImageBuilder.little(9 as UInt16) + [1, 2, 3, 4]
    let good = LineTable.unit4(setAddress(0x1000) + [1, 2, 8] + endSequence)
    let table = try #require(LineTable(section: strange + good + strange))
    #expect(table.source(of: GuestAddress(0x1007))?.line == 1)
  }

  @Test func longUnitsAreRead() throws {
    let unit = LineTable.unit4(setAddress(0x1000) + [1, 2, 8] + endSequence, offsetSize: 8)
    #expect(try #require(LineTable(section: unit)).source(of: GuestAddress(0x1007))?.file == "one.c")
  }

  @Test func headersThatWouldTrapAreRefused() {
    let program = setAddress(0x1000) + [1, 2, 8] + endSequence
    #expect(LineTable(section: LineTable.unit4(program)) != nil)
    #expect(LineTable(section: LineTable.unit4(program, lineRange: 0)) == nil)
    #expect(LineTable(section: LineTable.unit4(program, opcodeBase: 0)) == nil)
    #expect(LineTable(section: Array(LineTable.unit4(program).dropLast(1))) == nil)
    #expect(LineTable(section: []) == nil)
    // Half an instruction: what came before stays usable.
    let cut = LineTable(section: LineTable.unit4(program + setAddress(0x3000) + [1, 2, 0x80]))
    #expect(cut?.source(of: GuestAddress(0x1000))?.line == 1)
  }

  @Test func tablesOfFilesCannotClaimMoreThanTheirBytes() throws {
    // Version 5: no fields per directory, and 2^63 directories.
    let tables: [UInt8] = [0] + [UInt8](repeating: 0xff, count: 9) + [0x00]
    let body: [UInt8] = [1, 1, 1, 0xfd, 12, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1] + tables
    let unit =
      ImageBuilder.little(5 as UInt16) + [8, 0] + ImageBuilder.little(UInt32(body.count)) + body
      + setAddress(0x1000) + [1, 2, 8] + endSequence
    let table = try #require(LineTable(section: ImageBuilder.little(UInt32(unit.count)) + unit))
    let source = try #require(table.source(of: GuestAddress(0x1000)))
    #expect(source.file == nil && source.line == 1)
  }

  @Test func numbersOfVariableLengthAreReadWhole() {
    var reader = ByteReader([0xe5, 0x8e, 0x26, 0x7f, 0x80, 0x7f, 0x3f, 0x40])
    #expect(reader.uleb() == 624_485)
    #expect(reader.sleb() == -1)
    #expect(reader.sleb() == -128)
    #expect(reader.sleb() == 63)
    #expect(reader.sleb() == -64)
    #expect(reader.uleb() == nil)
    var long = ByteReader([UInt8](repeating: 0x80, count: 100) + [1] + [0x80])
    #expect(long.uleb() == 0)
    #expect(long.uleb() == nil && long.position == 101)
    var extreme = ByteReader([UInt8](repeating: 0x80, count: 9) + [0x7f])
    #expect(extreme.sleb() == .min)
  }
}

extension LineTable {
  fileprivate init?(program4 program: [UInt8]) { self.init(section: Self.unit4(program)) }

  /// A version 4 unit with two files.
  fileprivate static func unit4(
    _ program: [UInt8], lineRange: UInt8 = 12, opcodeBase: UInt8 = 13, offsetSize: Int = 4
  ) -> [UInt8] {
    let tables = Array("/usr/include\0\0one.c\0\0\0\0two.h\0\u{1}\0\0\0".utf8)
    let header: [UInt8] = [1, 1, 1, 0xfd, lineRange, opcodeBase, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1] + tables
    func word(_ value: Int) -> [UInt8] { Array(ImageBuilder.little(UInt64(value)).prefix(offsetSize)) }
    let unit = ImageBuilder.little(4 as UInt16) + word(header.count) + header + program
    return (offsetSize == 8 ? [0xff, 0xff, 0xff, 0xff] : []) + word(unit.count) + unit
  }

  /// From an ELF file that holds that `.debug_line` and nothing else.
  fileprivate init?(section: [UInt8]) {
    let names = Array("\0.debug_line\0".utf8)
    let file = ImageBuilder.sections([.init(name: 1, content: section), .init(content: names)])
    guard let sections = ImageSections(file) else { return nil }
    self.init(sections)
  }
}
