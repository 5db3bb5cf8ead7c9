/// Source lines by address, from `.debug_line`.
///
/// Format (DWARF 4 and 5, section 6.2): units one after another; each has a header, tables of directories and
/// files, and a program. Running the program yields rows (address, file, line) in sequences; each sequence
/// covers one contiguous piece of code and starts from the same registers. So an index of the sequences is
/// enough to find any row by running one of them again, and nothing else is kept.
///
/// The bytes may be garbage: every step consumes some of them, so that the work is bounded by their number.
struct LineTable: Sendable {
  private struct Sequence {
    let addresses: Range<UInt64>
    let unit: Int
    /// Where its part of the unit's program begins in the file.
    let start: Int
  }

  private let bytes: [UInt8]
  private let strings: LineStrings
  private let units: [LineUnit]
  private let sequences: [Sequence]

  init?(_ sections: ImageSections) {
    guard let range = sections.range(named: ".debug_line") else { return nil }
    var units: [LineUnit] = []
    var sequences: [Sequence] = []
    var reader = ByteReader(sections.bytes, in: range)
    while !reader.isAtEnd {
      let offset = UInt64(reader.position - range.lowerBound)
      guard let (unitReader, offsetSize) = reader.dwarfUnit() else { break }
      guard let unit = LineUnit(unitReader, offset: offset, offsetSize: offsetSize) else { continue }
      Self.index(unit, number: units.count, in: sections.bytes, &sequences)
      units.append(unit)
    }
    guard !sequences.isEmpty else { return nil }

    bytes = sections.bytes
    strings = LineStrings(sections)
    self.units = units
    self.sequences = sequences
  }

  private static func index(
    _ unit: LineUnit, number: Int, in bytes: [UInt8], _ sequences: inout [Sequence]
  ) {
    var program = LineProgram(unit, in: bytes, from: unit.program.lowerBound)
    var start = unit.program.lowerBound
    var first: UInt64?
    while let step = program.next() {
      if first == nil { first = program.address }
      guard step == .endOfSequence else { continue }
      // Code that the linker dropped is left at address 0.
      if let first, first != 0, first < program.address {
        sequences.append(Sequence(addresses: first..<program.address, unit: number, start: start))
      }
      start = program.position
      first = nil
      program.reset()
    }
  }

  /// The source of the instruction at `address`; the line is nil where the compiler names none.
  func source(of address: GuestAddress) -> (file: String?, line: Int?)? {
    for sequence in sequences where sequence.addresses.contains(address.value) {
      let unit = units[sequence.unit]
      var program = LineProgram(unit, in: bytes, from: sequence.start)
      var candidate: (file: UInt64, line: UInt64)?
      while let step = program.next() {
        if program.address > address.value {
          guard let candidate else { break }
          let line = Int(exactly: candidate.line) ?? 0
          return (unit.file(candidate.file, in: bytes, strings), line > 0 ? line : nil)
        }
        if step == .endOfSequence { break }
        candidate = (program.file, program.line)
      }
    }
    return nil
  }

  /// The path of file `index` of the unit at `offset` of the section, as debug information names files.
  func file(_ index: UInt64, ofUnitAt offset: UInt64) -> String? {
    units.first { $0.offset == offset }?.file(index, in: bytes, strings)
  }
}

/// The sections that file names may lie in.
struct LineStrings: Sendable {
  let bytes: [UInt8]
  let lines: Range<Int>?
  let strings: Range<Int>?

  init(_ sections: ImageSections) {
    bytes = sections.bytes
    lines = sections.range(named: ".debug_line_str")
    strings = sections.range(named: ".debug_str")
  }

  func string(at offset: UInt64, in range: Range<Int>?) -> String? {
    guard let range else { return nil }
    var reader = ByteReader(bytes, in: range)
    guard reader.skip(offset) else { return nil }
    return reader.string()
  }
}

extension ByteReader {
  /// Splits off what a DWARF length announces: the unit and the size of the offsets in it, 4 or 8 bytes.
  mutating func dwarfUnit() -> (unit: ByteReader, offsetSize: Int)? {
    guard let length = u32() else { return nil }
    if length < 0xffff_fff0 { return slice(UInt64(length)).map { ($0, 4) } }
    guard length == 0xffff_ffff, let long = u64() else { return nil }
    return slice(long).map { ($0, 8) }
  }
}
