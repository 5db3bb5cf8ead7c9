/// Runs the line program of one unit row by row. DWARF 5, sections 6.2.2 and 6.2.5.
struct LineProgram {
  enum Step { case row, endOfSequence }

  private(set) var address: UInt64 = 0
  private(set) var file: UInt64 = 1
  private(set) var line: UInt64 = 1
  private let unit: LineUnit
  private var reader: ByteReader

  init(_ unit: LineUnit, in bytes: [UInt8], from start: Int) {
    self.unit = unit
    reader = ByteReader(bytes, in: start..<max(start, unit.program.upperBound))
  }

  /// The next instruction in the file.
  var position: Int { reader.position }

  /// Puts the registers back, as at the start of a sequence.
  mutating func reset() {
    address = 0
    file = 1
    line = 1
  }

  /// Runs up to the next row; nil at the end of the program or where it makes no sense.
  mutating func next() -> Step? {
    while let opcode = reader.u8() {
      if opcode >= unit.opcodeBase {
        let adjusted = opcode - unit.opcodeBase
        advance(UInt64(adjusted / unit.lineRange))
        moveLine(Int64(unit.lineBase) + Int64(adjusted % unit.lineRange))
        return .row
      }
      switch opcode {
      case 0:
        guard let ended = extended() else { return nil }
        if ended { return .endOfSequence }
      case 1: return .row
      case 2:
        guard let count = reader.uleb() else { return nil }
        advance(count)
      case 3:
        guard let count = reader.sleb() else { return nil }
        moveLine(count)
      case 4:
        guard let index = reader.uleb() else { return nil }
        file = index
      case 8: advance(UInt64((255 - unit.opcodeBase) / unit.lineRange))
      case 9:
        guard let count = reader.u16() else { return nil }
        address &+= UInt64(count)
      default:
        // Columns, flags and what later versions may add: arguments only.
        for _ in 0..<unit.argumentCounts[Int(opcode) - 1] where reader.uleb() == nil { return nil }
      }
    }
    return nil
  }

  /// An instruction that carries its own length; true if it ends the sequence.
  private mutating func extended() -> Bool? {
    guard let length = reader.uleb(), var body = reader.slice(length), let opcode = body.u8() else {
      return nil
    }
    switch opcode {
    case 1: return true
    case 2:
      guard let value = body.u64() else { return nil }
      address = value
    default: break
    }
    return false
  }

  private mutating func advance(_ count: UInt64) {
    address &+= count &* UInt64(unit.minimumLength)
  }

  private mutating func moveLine(_ count: Int64) { line &+= UInt64(bitPattern: count) }
}
