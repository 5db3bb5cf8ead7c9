/// The maps behind 0F, as legacy encodings use them (Intel SDM volume 2, tables ).
extension OperandShape {
  static func two(_ opcode: UInt8, _ p: InstructionPrefixes, modRM: UInt8) -> OperandShape? {
    let v = p.operandSize
    let group = modRM >> 3 & 7
    switch opcode {
    case 0x0d, 0x18...0x1f, 0x0b, 0x31, 0x77, 0xa2, 0x80...0x8f, 0xc8...0xcf: return OperandShape.none
    case 0x40...0x4f, 0xa5, 0xad, 0xaf: return .memory(v)
    case 0x90...0x9f: return .memory(1)
    case 0xa0, 0xa8: return .push
    case 0xa1, 0xa9: return .pop
    case 0xa3, 0xab, 0xb3, 0xbb: return .bits
    case 0xa4, 0xac: return .memory(size: v, immediate: 1)
    case 0xae:
      switch group {
      case 0, 1: return p.mandatory == 0 ? .memory(512) : nil
      case 2, 3: return p.mandatory == 0 ? .memory(4) : nil
      case 7: return p.mandatory < 2 ? .memory(1) : nil
      default: return nil
      }
    case 0xb0, 0xc0, 0xb6, 0xbe: return .memory(1)
    case 0xb1, 0xc1: return .memory(v)
    case 0xb7, 0xbf: return .memory(2)
    case 0xb8: return p.mandatory == 2 ? .memory(v) : nil
    case 0xbc, 0xbd: return .memory(v)
    case 0xba: return group >= 4 ? .memory(size: v, immediate: 1) : nil
    case 0xc3: return p.mandatory == 0 ? .memory(p.wordSize) : nil
    case 0xc7: return group == 1 && p.mandatory == 0 ? .memory(p.isWide ? 16 : 8) : nil
    default: return vector(opcode, p)
    }
  }

  /// By mandatory prefix: none, 66, F3, F2; 0 where there is no such instruction.
  private static func by(
    _ p: InstructionPrefixes, _ none: Int, _ x66: Int, _ xF3: Int, _ xF2: Int, _ immediate: Int = 0
  ) -> OperandShape? {
    let size = p.mandatory == 0 ? none : p.mandatory == 1 ? x66 : p.mandatory == 2 ? xF3 : xF2
    return size == 0 ? nil : .memory(size: size, immediate: immediate)
  }

  private static func vector(_ opcode: UInt8, _ p: InstructionPrefixes) -> OperandShape? {
    switch opcode {
    case 0x10, 0x11, 0x51, 0x58, 0x59, 0x5c...0x5f: return by(p, 16, 16, 4, 8)
    case 0x12: return by(p, 8, 8, 16, 8)
    case 0x13, 0x17: return by(p, 8, 8, 0, 0)
    case 0x14, 0x15, 0x28, 0x29, 0x2b, 0x54...0x57: return by(p, 16, 16, 0, 0)
    case 0x16: return by(p, 8, 8, 16, 0)
    case 0x2a: return by(p, 8, 8, p.wordSize, p.wordSize)
    case 0x2c, 0x2d: return by(p, 8, 16, 4, 8)
    case 0x2e, 0x2f: return by(p, 4, 8, 0, 0)
    case 0x52, 0x53: return by(p, 16, 0, 4, 0)
    case 0x5a: return by(p, 8, 16, 4, 8)
    case 0x5b: return by(p, 16, 16, 16, 0)
    case 0x60...0x62: return by(p, 4, 16, 0, 0)
    case 0x63...0x6b, 0x74...0x76: return by(p, 8, 16, 0, 0)
    case 0x6c, 0x6d: return by(p, 0, 16, 0, 0)
    case 0x6e: return by(p, p.wordSize, p.wordSize, 0, 0)
    case 0x6f, 0x7f: return by(p, 8, 16, 16, 0)
    case 0x70: return by(p, 8, 16, 16, 16, 1)
    case 0x7c, 0x7d, 0xd0: return by(p, 0, 16, 0, 16)
    case 0x7e: return by(p, p.wordSize, p.wordSize, 8, 0)
    case 0xc2: return by(p, 16, 16, 4, 8, 1)
    case 0xc4: return by(p, 2, 2, 0, 0, 1)
    case 0xc6: return by(p, 16, 16, 0, 0, 1)
    case 0xd6: return by(p, 0, 8, 0, 0)
    case 0xe6: return by(p, 0, 16, 8, 16)
    case 0xe7: return by(p, 8, 16, 0, 0)
    case 0xf0: return by(p, 0, 0, 0, 16)
    case 0xf7:
      return p.mandatory == 0 ? .maskedStore(size: 8) : p.mandatory == 1 ? .maskedStore(size: 16) : nil
    case 0xd7: return OperandShape.none
    case 0xd1...0xd5, 0xd8...0xdf, 0xe0...0xe5, 0xe8...0xef, 0xf1...0xf6, 0xf8...0xfe:
      return by(p, 8, 16, 0, 0)
    default: return nil
    }
  }

  static func three38(_ opcode: UInt8, _ p: InstructionPrefixes) -> OperandShape? {
    switch opcode {
    case 0x00...0x0b, 0x1c...0x1e: return by(p, 8, 16, 0, 0)
    case 0x10, 0x14, 0x15, 0x17, 0x28...0x2b, 0x37...0x41, 0xcf, 0xdb...0xdf: return by(p, 0, 16, 0, 0)
    case 0x20, 0x23, 0x25, 0x30, 0x33, 0x35: return by(p, 0, 8, 0, 0)
    case 0x21, 0x24, 0x31, 0x34: return by(p, 0, 4, 0, 0)
    case 0x22, 0x32: return by(p, 0, 2, 0, 0)
    case 0xc8...0xcd: return by(p, 16, 0, 0, 0)
    case 0xf0: return by(p, p.operandSize, p.operandSize, 0, 1)
    case 0xf1: return by(p, p.operandSize, p.operandSize, 0, p.operandSize)
    case 0xf6: return by(p, 0, p.wordSize, p.wordSize, 0)
    case 0xf9: return by(p, p.wordSize, 0, 0, 0)
    default: return nil
    }
  }

  static func three3A(_ opcode: UInt8, _ p: InstructionPrefixes) -> OperandShape? {
    switch opcode {
    case 0x08, 0x09, 0x0c...0x0e, 0x40...0x42, 0x44, 0x60...0x63, 0xce, 0xcf, 0xdf:
      return by(p, 0, 16, 0, 0, 1)
    case 0x0a, 0x17, 0x21: return by(p, 0, 4, 0, 0, 1)
    case 0x0b: return by(p, 0, 8, 0, 0, 1)
    case 0x0f: return by(p, 8, 16, 0, 0, 1)
    case 0x14, 0x20: return by(p, 0, 1, 0, 0, 1)
    case 0x15: return by(p, 0, 2, 0, 0, 1)
    case 0x16, 0x22: return by(p, 0, p.wordSize, 0, 0, 1)
    case 0xcc: return by(p, 16, 0, 0, 0, 1)
    default: return nil
    }
  }
}
