/// The maps as VEX and EVEX encodings use them (Intel SDM volume 2, the instructions' own pages). The size of an EVEX
/// operand is also the unit of its displacement of one byte ("disp8*N", 2.7.5), but for the few that move single elements.
extension OperandShape {
  static func vector(_ opcode: UInt8, _ p: InstructionPrefixes, modRM: UInt8) -> OperandShape? {
    switch p.map {
    case .one: nil
    case .two: vectorTwo(opcode, p, group: modRM >> 3 & 7)
    case .three38: vector38(opcode, p)
    case .three3A: vector3A(opcode, p)
    }
  }

  /// A whole vector, or with broadcast one element of it.
  private static func full(
    _ p: InstructionPrefixes, _ element: Int, part: Int = 1, _ immediate: Int = 0
  ) -> OperandShape? {
    if p.encoding == .vex { return fixed(p, p.vectorLength / part, immediate) }
    let size = p.hasBroadcast ? element : p.vectorLength / part
    return .memory(size: size, immediate: immediate, scale: size, isMasked: p.isMasked)
  }
  /// So many bytes, without broadcast.
  private static func fixed(
    _ p: InstructionPrefixes, _ size: Int, _ immediate: Int = 0, scale: Int? = nil
  ) -> OperandShape? {
    if size == 0 || p.hasBroadcast { return nil }
    return .memory(
      size: size, immediate: immediate, scale: p.encoding == .evex ? scale ?? size : 1,
      isMasked: p.isMasked)
  }
  private static func by(
    _ p: InstructionPrefixes, _ none: Int, _ x66: Int, _ xF3: Int, _ xF2: Int, _ immediate: Int = 0
  ) -> OperandShape? {
    fixed(p, p.mandatory == 0 ? none : p.mandatory == 1 ? x66 : p.mandatory == 2 ? xF3 : xF2, immediate)
  }
  /// Packed single, packed double, and one of each.
  private static func arithmetic(_ p: InstructionPrefixes, _ immediate: Int = 0) -> OperandShape? {
    // EVEX says the element's size twice.
    if p.encoding == .evex, p.isWide != (p.mandatory & 1 != 0) { return nil }
    switch p.mandatory {
    case 0: return full(p, 4, immediate)
    case 1: return full(p, 8, immediate)
    case 2: return fixed(p, 4, immediate)
    default: return fixed(p, 8, immediate)
    }
  }
  /// Widens elements of 4 bytes, or takes those of 8 as they are.
  private static func widening(_ p: InstructionPrefixes) -> OperandShape? {
    p.isWide && p.encoding == .evex ? full(p, 8) : full(p, 4, part: 2)
  }

  private static func vectorTwo(_ opcode: UInt8, _ p: InstructionPrefixes, group: UInt8) -> OperandShape? {
    let length = p.vectorLength
    let element = p.wordSize
    let isEVEX = p.encoding == .evex
    let packed = p.mandatory < 2
    switch opcode {
    case 0x10, 0x11: return by(p, length, length, 4, 8)
    case 0x12: return by(p, 8, 8, length, length == 16 ? 8 : length)
    case 0x13, 0x17: return by(p, 8, 8, 0, 0)
    case 0x14, 0x15, 0x54...0x57: return packed ? full(p, p.mandatory == 1 ? 8 : 4) : nil
    case 0x16: return by(p, 8, 8, length, 0)
    case 0x28, 0x29, 0x2b: return by(p, length, length, 0, 0)
    case 0x2a: return by(p, 0, 0, element, element)
    case 0x2c, 0x2d: return by(p, 0, 0, 4, 8)
    case 0x2e, 0x2f: return by(p, 4, 8, 0, 0)
    case 0x51, 0x58, 0x59, 0x5c...0x5f: return arithmetic(p)
    case 0x52, 0x53: return isEVEX ? nil : by(p, length, 0, 4, 0)
    case 0x5a:
      if p.mandatory == 0 { return full(p, 4, part: 2) }
      return p.mandatory == 1 ? full(p, 8) : by(p, 0, 0, 4, 8)
    case 0x5b: return p.mandatory == 3 ? nil : full(p, element)
    case 0x6e: return by(p, 0, element, 0, 0)
    case 0x6f, 0x7f: return by(p, 0, length, length, isEVEX ? length : 0)
    case 0x70: return p.mandatory == 1 ? full(p, 4, 1) : by(p, 0, 0, length, length, 1)
    case 0x71: return isEVEX ? by(p, 0, length, 0, 0, 1) : nil
    case 0x72: return isEVEX && p.mandatory == 1 ? full(p, element, 1) : nil
    case 0x73:
      guard isEVEX, p.mandatory == 1 else { return nil }
      return group & 1 != 0 ? fixed(p, length, 1) : full(p, 8, 1)
    case 0x77: return isEVEX ? nil : OperandShape.none
    case 0x78, 0x79:
      guard isEVEX else { return nil }
      if p.mandatory == 0 { return full(p, element) }
      return p.mandatory == 1 ? widening(p) : by(p, 0, 0, 4, 8)
    case 0x7a:
      guard isEVEX, p.mandatory != 0 else { return nil }
      return p.mandatory == 3 ? full(p, element) : widening(p)
    case 0x7b:
      guard isEVEX else { return nil }
      return p.mandatory == 1 ? widening(p) : by(p, 0, 0, element, element)
    case 0x7c, 0x7d, 0xd0: return isEVEX ? nil : by(p, 0, length, 0, length)
    case 0x7e: return by(p, 0, element, 8, 0)
    case 0x90, 0x91: return isEVEX ? nil : by(p, p.isWide ? 8 : 2, p.isWide ? 4 : 1, 0, 0)
    case 0xae: return !isEVEX && (group == 2 || group == 3) ? by(p, 4, 0, 0, 0) : nil
    case 0xc2: return arithmetic(p, 1)
    case 0xc4: return by(p, 0, 2, 0, 0, 1)
    case 0xc6: return packed ? full(p, p.mandatory == 1 ? 8 : 4, 1) : nil
    case 0xd6: return by(p, 0, 8, 0, 0)
    case 0xe6: return p.mandatory == 2 ? widening(p) : p.mandatory == 0 ? nil : full(p, 8)
    case 0xe7: return by(p, 0, length, 0, 0)
    case 0xf0: return isEVEX ? nil : by(p, 0, 0, 0, length)
    case 0xf7: return !isEVEX && p.mandatory == 1 ? .maskedStore(size: 16) : nil
    case 0x60...0x6d, 0x74...0x76, 0xd1...0xd5, 0xd8...0xdf, 0xe0...0xe5, 0xe8...0xef, 0xf1...0xf6,
      0xf8...0xfe:
      return p.mandatory == 1 ? integers(opcode, p) : nil
    default: return nil
    }
  }

  /// The integer instructions that MMX began.
  private static func integers(_ opcode: UInt8, _ p: InstructionPrefixes) -> OperandShape? {
    switch opcode {
    case 0xd1...0xd3, 0xe1, 0xe2, 0xf1...0xf3: fixed(p, 16)
    case 0x62, 0x66, 0x6a, 0x6b, 0x76, 0xfa, 0xfe: full(p, 4)
    case 0x6c, 0x6d, 0xd4, 0xf4, 0xfb: full(p, 8)
    case 0xdb, 0xdf, 0xeb, 0xef: full(p, p.wordSize)
    default: fixed(p, p.vectorLength)
    }
  }

  private static func vector38(_ opcode: UInt8, _ p: InstructionPrefixes) -> OperandShape? {
    let length = p.vectorLength
    let element = p.wordSize
    let isEVEX = p.encoding == .evex
    switch (opcode, p.mandatory) {
    case (0x10, 2), (0x13, 2), (0x15, 2), (0x20, 1...2), (0x23, 1...2), (0x25, 1...2), (0x30, 1...2),
      (0x33, 1...2), (0x35, 1...2), (0x13, 1):
      return fixed(p, length / 2)
    case (0x11, 2), (0x14, 2), (0x21, 1...2), (0x24, 1...2), (0x31, 1...2), (0x34, 1...2):
      return fixed(p, length / 4)
    case (0x12, 2), (0x22, 1...2), (0x32, 1...2): return fixed(p, length / 8)
    case (0x50...0x51, _): return full(p, 4)
    case (0x52, 2), (0x72, 2), (0x72, 3): return full(p, 4)
    case (0x68, 3): return full(p, element)
    case (0xf2, 0), (0xf3, 0), (0xf5, 0), (0xf5, 2...3), (0xf6, 3), (0xf7, _):
      return isEVEX ? nil : fixed(p, element)
    case (0x26, 2): return isEVEX ? fixed(p, length) : nil
    case (0x27, 2): return isEVEX ? full(p, element) : nil
    case (_, 1): break
    default: return nil
    }
    switch opcode {
    case 0x00...0x0b, 0x10...0x12, 0x1c...0x1d, 0x26, 0x2a, 0x38, 0x3a, 0x3c, 0x3e, 0x54, 0x66, 0x70,
      0x72, 0x75, 0x7d, 0x8d, 0x8f, 0xcf, 0xdc...0xdf:
      return fixed(p, length)
    case 0x0c, 0x1e, 0x2b: return full(p, 4)
    case 0x0d, 0x1f, 0x28, 0x29, 0x37, 0x83, 0xb4, 0xb5: return full(p, 8)
    case 0x14...0x16, 0x27, 0x36, 0x39, 0x3b, 0x3d, 0x3f, 0x40, 0x42, 0x44...0x47, 0x4c, 0x4e, 0x55,
      0x64, 0x65, 0x71, 0x73, 0x76, 0x77, 0x7e, 0x7f, 0xc4:
      return full(p, element)
    case 0x52, 0x53: return full(p, 4)
    case 0x0e, 0x0f, 0x17: return isEVEX ? nil : fixed(p, length)
    case 0x18, 0x58: return fixed(p, 4)
    case 0x19, 0x59: return fixed(p, 8)
    case 0x1a, 0x5a: return fixed(p, 16)
    case 0x1b, 0x5b: return isEVEX ? fixed(p, 32) : nil
    case 0x2c...0x2f, 0x8c, 0x8e:
      if !isEVEX { return .memory(size: length, immediate: 0, isMasked: true) }
      return opcode == 0x2c ? full(p, element) : opcode == 0x2d ? fixed(p, element) : nil
    case 0x41, 0xdb: return isEVEX ? nil : fixed(p, 16)
    case 0x43, 0x4d, 0x4f: return isEVEX ? fixed(p, element) : nil
    case 0x62, 0x63: return isEVEX ? fixed(p, length, scale: p.isWide ? 2 : 1) : nil
    case 0x88...0x8b: return isEVEX ? fixed(p, length, scale: element) : nil
    case 0x78: return fixed(p, 1)
    case 0x79: return fixed(p, 2)
    case 0x90, 0x92: return .gather(element: element, index: 4)
    case 0x91, 0x93: return .gather(element: element, index: 8)
    case 0x96...0xbf:
      switch opcode & 15 {
      case 6, 7, 8, 0xa, 0xc, 0xe: return full(p, element)
      case 9, 0xb, 0xd, 0xf: return fixed(p, element)
      default: return nil
      }
    default: return nil
    }
  }

  private static func vector3A(_ opcode: UInt8, _ p: InstructionPrefixes) -> OperandShape? {
    let length = p.vectorLength
    let element = p.wordSize
    let isEVEX = p.encoding == .evex
    if opcode == 0xf0 { return !isEVEX && p.mandatory == 3 ? fixed(p, element, 1) : nil }
    guard p.mandatory == 1 else { return nil }
    switch opcode {
    case 0x00, 0x01, 0x05, 0x09: return full(p, 8, 1)
    case 0x04, 0x08: return full(p, 4, 1)
    case 0x02, 0x0c...0x0e, 0x40, 0x4a...0x4c: return isEVEX ? nil : fixed(p, length, 1)
    case 0x03, 0x1e, 0x1f, 0x23, 0x25, 0x26, 0x43, 0x50, 0x54, 0x56, 0x66, 0x71, 0x73:
      return isEVEX ? full(p, element, 1) : nil
    case 0x27, 0x51, 0x55, 0x57, 0x67: return isEVEX ? fixed(p, element, 1) : nil
    case 0x0f, 0x42, 0x44: return fixed(p, length, 1)
    case 0x3e, 0x3f, 0x70, 0x72: return isEVEX ? fixed(p, length, 1) : nil
    case 0xce, 0xcf: return full(p, 8, 1)
    case 0x14, 0x20: return fixed(p, 1, 1)
    case 0x15: return fixed(p, 2, 1)
    case 0x16, 0x22: return fixed(p, element, 1)
    case 0x0a, 0x17, 0x21: return fixed(p, 4, 1)
    case 0x0b: return fixed(p, 8, 1)
    case 0x18, 0x19, 0x38, 0x39: return fixed(p, 16, 1)
    case 0x1a, 0x1b, 0x3a, 0x3b: return isEVEX ? fixed(p, 32, 1) : nil
    case 0x1d: return fixed(p, length / 2, 1)
    case 0x06, 0x46: return isEVEX ? nil : fixed(p, 32, 1)
    case 0x41, 0x60...0x63, 0xdf: return isEVEX ? nil : fixed(p, 16, 1)
    default: return nil
    }
  }
}
