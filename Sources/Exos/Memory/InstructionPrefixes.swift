/// Everything before an instruction's opcode, and the opcode map it leads to.
struct InstructionPrefixes {
  enum Encoding { case legacy, vex, evex }
  enum Segment { case flat, fs, gs }
  /// Opcode maps: one byte, 0F, 0F 38, 0F 3A.
  enum Map { case one, two, three38, three3A }

  var encoding = Encoding.legacy
  var map = Map.one
  var segment = Segment.flat
  /// CS, DS, ES or SS, which mean nothing.
  private var hasFlatSegment = false
  /// 66: operands of 16 bits.
  var hasOperandSize = false
  /// 67: addresses of 32 bits.
  var hasAddressSize = false
  var hasLock = false
  /// F2 or F3, the last of them; 0 for none.
  var repeating: UInt8 = 0
  /// REX.W and its counterparts.
  var isWide = false
  /// The upper bits, in place, of the register numbers in ModRM's rm or SIB's base, and in SIB's index.
  var base: Int = 0
  var index: Int = 0
  /// The upper bits of ModRM's reg.
  var register: Int = 0
  /// The register that only VEX and EVEX name.
  var extra: Int = 0
  /// Prefix that is part of the opcode: 0 none, 1 66, 2 F3, 3 F2.
  var mandatory = 0
  /// In bytes.
  var vectorLength = 16
  var isMasked = false
  var hasBroadcast = false

  /// Operand size in bytes of the instructions that have any of 16, 32 and 64 bits.
  var operandSize: Int { isWide ? 8 : hasOperandSize ? 2 : 4 }
  /// Of those that have 32 or 64 bits.
  var wordSize: Int { isWide ? 8 : 4 }
  /// Of pushes and pops, 64 or 16 bits.
  var stackSize: Int { hasOperandSize && !isWide ? 2 : 8 }
  /// Bytes of an immediate of 16 or 32 bits.
  var immediateSize: Int { operandSize == 2 ? 2 : 4 }

  /// Reads prefixes and escapes up to the opcode; nil if there is none or a prefix is of no encoding that is known.
  init?(_ bytes: inout InstructionBytes) {
    var rex: UInt8 = 0
    while let byte = bytes.peek() {
      switch byte {
      case 0x66: hasOperandSize = true
      case 0x67: hasAddressSize = true
      case 0x26, 0x2e, 0x36, 0x3e: hasFlatSegment = true
      case 0x64, 0x65:
        let named: Segment = byte == 0x64 ? .fs : .gs
        guard segment == .flat || segment == named else { return nil }
        segment = named
      case 0xf0: hasLock = true
      case 0xf2, 0xf3: repeating = byte
      case 0x40...0x4f:
        rex = byte
        _ = bytes.next()
        continue
      default:
        // Processors differ in which of two segments counts.
        guard finish(&bytes, rex), segment == .flat || !hasFlatSegment else { return nil }
        return
      }
      // REX counts only right before the opcode.
      rex = 0
      _ = bytes.next()
    }
    return nil
  }

  private mutating func finish(_ bytes: inout InstructionBytes, _ rex: UInt8) -> Bool {
    switch bytes.peek() {
    case 0xc4, 0xc5, 0x62:
      // These prefixes say what others would.
      guard rex == 0, !hasOperandSize, !hasLock, repeating == 0, let first = bytes.next() else {
        return false
      }
      return first == 0x62 ? readEVEX(&bytes) : readVEX(&bytes, isLong: first == 0xc4)
    case 0x0f:
      _ = bytes.next()
      map = .two
      if bytes.peek() == 0x38 { map = .three38 } else if bytes.peek() == 0x3a { map = .three3A }
      if map != .two { _ = bytes.next() }
    default: break
    }
    isWide = rex & 8 != 0
    register = rex & 4 != 0 ? 8 : 0
    index = rex & 2 != 0 ? 8 : 0
    base = rex & 1 != 0 ? 8 : 0
    mandatory = repeating == 0xf3 ? 2 : repeating == 0xf2 ? 3 : hasOperandSize ? 1 : 0
    return true
  }

  private mutating func setMap(_ number: UInt8) -> Bool {
    switch number {
    case 1: map = .two
    case 2: map = .three38
    case 3: map = .three3A
    default: return false
    }
    return true
  }

  private mutating func readVEX(_ bytes: inout InstructionBytes, isLong: Bool) -> Bool {
    encoding = .vex
    guard let first = bytes.next() else { return false }
    register = first & 0x80 == 0 ? 8 : 0
    var last = first
    if isLong {
      index = first & 0x40 == 0 ? 8 : 0
      base = first & 0x20 == 0 ? 8 : 0
      guard setMap(first & 31), let second = bytes.next() else { return false }
      isWide = second & 0x80 != 0
      last = second
    } else {
      map = .two
    }
    extra = Int(~last >> 3 & 15)
    vectorLength = last & 4 != 0 ? 32 : 16
    setMandatory(last & 3)
    return true
  }

  /// Intel SDM volume 2, 2.7: 0RXB R'0mm, Wvvv v1pp, zL'Lb V'aaa.
  private mutating func readEVEX(_ bytes: inout InstructionBytes) -> Bool {
    encoding = .evex
    guard let first = bytes.next(), let second = bytes.next(), let third = bytes.next(),
      first & 8 == 0, second & 4 != 0, setMap(first & 7), third >> 5 & 3 != 3
    else { return false }
    register = (first & 0x80 == 0 ? 8 : 0) + (first & 0x10 == 0 ? 16 : 0)
    index = first & 0x40 == 0 ? 8 : 0
    base = first & 0x20 == 0 ? 8 : 0
    isWide = second & 0x80 != 0
    extra = Int(~second >> 3 & 15) + (third & 8 == 0 ? 16 : 0)
    setMandatory(second & 3)
    vectorLength = 16 << Int(third >> 5 & 3)
    hasBroadcast = third & 0x10 != 0
    isMasked = third & 7 != 0
    return true
  }

  private mutating func setMandatory(_ field: UInt8) { mandatory = Int(field) }
}
