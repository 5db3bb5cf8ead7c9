/// How an instruction comes by the memory it touches.
enum OperandShape {
  /// Not at all.
  case none
  /// An operand by ModRM, unless that names a register. `scale` is the unit of an EVEX displacement of one byte.
  case memory(size: Int, immediate: Int, scale: Int = 1, isMasked: Bool = false)
  /// The same, and a register says how many bits further.
  case bits
  /// Pops to, pushes from, or calls through such an operand.
  case popOperand, pushOperand, callOperand
  case push, pop, leave
  /// An address of 8 bytes in the instruction.
  case absolute(size: Int)
  /// String instructions: RSI read, RDI written or read, by so many bytes.
  case load(size: Int)
  case store(size: Int)
  case scan(size: Int)
  case move(size: Int)
  case compare(size: Int)
  /// XLAT.
  case translate
  /// MASKMOVQ and MASKMOVDQU: bytes at RDI that a mask picks.
  case maskedStore(size: Int)
  /// Elements at addresses in a vector.
  case gather(element: Int, index: Int)

  static func memory(_ size: Int) -> OperandShape { .memory(size: size, immediate: 0) }
}

extension OperandShape {
  /// The shape of an instruction that starts in the map of one byte (Intel SDM volume 2, tables ).
  /// - Parameter modRM: the byte after the opcode, if there is one.
  static func one(_ opcode: UInt8, _ p: InstructionPrefixes, modRM: UInt8) -> OperandShape? {
    let v = p.operandSize
    let group = modRM >> 3 & 7
    switch opcode {
    case 0x00..<0x40:
      switch opcode & 7 {
      case 0, 2: return .memory(1)
      case 1, 3: return .memory(v)
      case 4, 5: return OperandShape.none
      default: return nil
      }
    case 0x50...0x57, 0x68, 0x6a, 0x9c: return .push
    case 0x58...0x5f, 0x9d: return .pop
    // Manuals differ in how much MOVSXD of 16 bits reads.
    case 0x63: return p.operandSize == 2 ? nil : .memory(4)
    case 0x69: return .memory(size: v, immediate: p.immediateSize)
    case 0x6b: return .memory(size: v, immediate: 1)
    case 0x70...0x7f, 0x90...0x99, 0x9b, 0x9e, 0x9f, 0xa8, 0xa9, 0xb0...0xbf, 0xe0...0xe3, 0xe9, 0xeb,
      0xf5, 0xf8...0xf9, 0xfc...0xfd:
      return OperandShape.none
    case 0x80, 0xc0: return .memory(size: 1, immediate: 1)
    case 0x81: return .memory(size: v, immediate: p.immediateSize)
    case 0x83, 0xc1: return .memory(size: v, immediate: 1)
    case 0x84, 0x86, 0x88, 0x8a, 0xd0, 0xd2: return .memory(1)
    case 0x85, 0x87, 0x89, 0x8b, 0xd1, 0xd3: return .memory(v)
    case 0x8c, 0x8e: return .memory(2)
    case 0x8d: return OperandShape.none
    case 0x8f: return group == 0 ? .popOperand : nil
    case 0xa0, 0xa2: return .absolute(size: 1)
    case 0xa1, 0xa3: return .absolute(size: v)
    case 0xa4, 0xa5: return .move(size: opcode & 1 == 0 ? 1 : v)
    case 0xa6, 0xa7: return .compare(size: opcode & 1 == 0 ? 1 : v)
    case 0xaa, 0xab: return .store(size: opcode & 1 == 0 ? 1 : v)
    case 0xac, 0xad: return .load(size: opcode & 1 == 0 ? 1 : v)
    case 0xae, 0xaf: return .scan(size: opcode & 1 == 0 ? 1 : v)
    // What 66 does to near branches is not the same everywhere.
    case 0xc2, 0xc3: return p.hasOperandSize ? nil : .pop
    case 0xe8: return p.hasOperandSize ? nil : .push
    case 0xc6: return group == 0 ? .memory(size: 1, immediate: 1) : nil
    case 0xc7: return group == 0 ? .memory(size: v, immediate: p.immediateSize) : nil
    case 0xc9: return .leave
    case 0xd7: return .translate
    case 0xd8...0xdf: return floatingPoint(opcode, p, group)
    case 0xf6: return .memory(size: 1, immediate: group < 2 ? 1 : 0)
    case 0xf7: return .memory(size: v, immediate: group < 2 ? p.immediateSize : 0)
    case 0xfe: return group < 2 ? .memory(1) : nil
    case 0xff:
      switch group {
      case 0, 1: return .memory(v)
      case 2: return p.hasOperandSize ? nil : .callOperand
      case 4: return p.hasOperandSize ? nil : .memory(8)
      case 6: return .pushOperand
      default: return nil
      }
    default: return nil
    }
  }

  /// x87: the operand's size is by opcode and ModRM's reg.
  private static func floatingPoint(
    _ opcode: UInt8, _ p: InstructionPrefixes, _ group: UInt8
  ) -> OperandShape? {
    let isShort = p.hasOperandSize && !p.isWide
    switch (opcode, group) {
    case (0xd8, _), (0xda, _): return .memory(4)
    case (0xd9, 0), (0xd9, 2), (0xd9, 3), (0xdb, 0...3): return .memory(4)
    case (0xd9, 4), (0xd9, 6): return .memory(isShort ? 14 : 28)
    case (0xd9, 5), (0xd9, 7), (0xdd, 7), (0xde, _), (0xdf, 0...3): return .memory(2)
    case (0xdb, 5), (0xdb, 7), (0xdf, 4), (0xdf, 6): return .memory(10)
    case (0xdc, _), (0xdd, 0...3), (0xdf, 5), (0xdf, 7): return .memory(8)
    case (0xdd, 4), (0xdd, 6): return .memory(isShort ? 94 : 108)
    default: return nil
    }
  }
}
