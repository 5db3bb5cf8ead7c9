/// x86-64 code as bytes (Intel SDM 2): labels, jumps, and constants that lie behind the code.
struct X86Assembler {
  private(set) var bytes: [UInt8] = []
  private var labels: [Int?] = []
  private var references: [(place: Int, label: Int)] = []
  /// Of 16 bytes each.
  private var constants: [[UInt8]] = []
  private var constantReferences: [(place: Int, constant: Int)] = []

  struct Label { fileprivate let number: Int }
  /// Conditional jumps by their second opcode byte.
  enum Condition: UInt8 {
    case below = 0x82
    case above = 0x87
    case equal = 0x84
    case notEqual = 0x85
    case belowOrEqual = 0x86
    case negative = 0x88
  }

  mutating func label() -> Label {
    labels.append(nil)
    return Label(number: labels.count - 1)
  }
  mutating func place(_ label: Label) { labels[label.number] = bytes.count }

  mutating func emit(_ code: UInt8...) { bytes += code }
  mutating func word(_ value: UInt32) {
    for shift in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(shift * 8))) }
  }
  mutating func long(_ value: UInt64) {
    word(UInt32(truncatingIfNeeded: value))
    word(UInt32(truncatingIfNeeded: value >> 32))
  }

  mutating func jump(_ condition: Condition, _ label: Label) {
    emit(0x0f, condition.rawValue)
    refer(label)
  }
  mutating func jump(_ label: Label) {
    emit(0xe9)
    refer(label)
  }
  mutating func call(_ label: Label) {
    emit(0xe8)
    refer(label)
  }
  private mutating func refer(_ label: Label) {
    references.append((bytes.count, label.number))
    word(0)
  }
  mutating func ret() { emit(0xc3) }

  /// The distance to a constant of 16 bytes, which ends an instruction that takes it from memory.
  mutating func refer(to constant: [UInt8]) {
    let number = constants.firstIndex(of: constant) ?? constants.count
    if number == constants.count { constants.append(constant) }
    constantReferences.append((bytes.count, number))
    word(0)
  }

  /// Fills in jumps and constants. Every label must have been placed. Whoever places the code does so at a multiple of 16.
  mutating func finish() -> [UInt8] {
    for (place, label) in references {
      guard let target = labels[label] else { preconditionFailure("a label without a place") }
      fill(place, target)
    }
    if !constants.isEmpty {
      while bytes.count % 16 != 0 { bytes.append(0xcc) }
      let first = bytes.count
      for constant in constants { bytes += constant }
      for (place, constant) in constantReferences { fill(place, first + constant * 16) }
    }
    return bytes
  }
  private mutating func fill(_ place: Int, _ target: Int) {
    let distance = UInt32(bitPattern: Int32(target - (place + 4)))
    for shift in 0..<4 { bytes[place + shift] = UInt8(truncatingIfNeeded: distance >> UInt32(shift * 8)) }
  }
}
