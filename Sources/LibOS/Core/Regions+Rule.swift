import ExoABI

/// The small program that decides who may do what with a region (exo_abi.h has its form). It is run for each access and
/// answers a number: 0 forbids.
///
///     // The word may only grow.
///     var rule = RegionRule()
///     rule.load(.operation, into: .r0)
///     rule.when(.r0) {
///       $0.load(.offset, into: .r1)
///       $0.word(at: .r1, into: .r2)
///       $0.load(.newWord, into: .r3)
///       $0.less(.r2, .r3, into: .r4)
///       $0.answer(.r4)
///     }
///     rule.set(.r4, to: 1)
///     rule.answer(.r4)
public struct RegionRule: Equatable, Sendable {
  public enum Register: UInt8, Sendable { case r0, r1, r2, r3, r4, r5, r6, r7 }

  /// What the rule is told of an access.
  public enum Input: UInt8, Sendable {
    /// 0 to read, 1 to write.
    case operation
    case offset, length
    /// Number of the environment that asks, and of the one that made the region.
    case caller, maker
    /// The first eight bytes that a write would leave at the offset; 0 for a read.
    case newWord

    /// Of a wakeup predicate: the monotonic clock in nanoseconds, and how many events have not been taken.
    public static let clock = Input.operation
    public static let pendingEvents = Input.offset
  }

  /// The program, eight bytes an instruction.
  public private(set) var bytes: [UInt8] = []

  public init() {}

  /// Instructions so far. The exokernel takes up to `EXO_RULE_LIMIT`.
  public var count: Int { bytes.count / 8 }

  public mutating func set(_ register: Register, to value: Int32) {
    emit(EXO_RULE_CONSTANT, into: register, immediate: value)
  }
  public mutating func load(_ input: Input, into register: Register) {
    emit(EXO_RULE_INPUT, into: register, a: input.rawValue)
  }
  /// The region's word at the byte offset in a register, plus a constant. Past the region's end the answer is 0 at once.
  public mutating func word(at offset: Register, plus constant: Int32 = 0, into register: Register) {
    emit(EXO_RULE_WORD, into: register, a: offset.rawValue, immediate: constant)
  }
  public mutating func add(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_RULE_ADD, into: result, a, b)
  }
  public mutating func subtract(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_RULE_SUBTRACT, into: result, a, b)
  }
  public mutating func and(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_RULE_AND, into: result, a, b)
  }
  public mutating func or(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_RULE_OR, into: result, a, b)
  }
  public mutating func xor(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_RULE_XOR, into: result, a, b)
  }
  public mutating func shiftLeft(_ a: Register, by b: Register, into result: Register) {
    emit(EXO_RULE_SHIFT_LEFT, into: result, a, b)
  }
  public mutating func shiftRight(_ a: Register, by b: Register, into result: Register) {
    emit(EXO_RULE_SHIFT_RIGHT, into: result, a, b)
  }
  /// 1 if they are equal, else 0.
  public mutating func equal(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_RULE_EQUAL, into: result, a, b)
  }
  /// 1 if `a` is the smaller, both unsigned; else 0.
  public mutating func less(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_RULE_LESS, into: result, a, b)
  }
  /// Ends the program with what a register holds.
  public mutating func answer(_ register: Register) {
    emit(EXO_RULE_RESULT, into: .r0, a: register.rawValue)
  }

  /// Adds instructions that are passed over if a register is 0. Something has to follow them.
  public mutating func when(_ register: Register, _ body: (inout RegionRule) -> Void) {
    var inner = RegionRule()
    body(&inner)
    emit(EXO_RULE_SKIP_IF_ZERO, into: .r0, a: register.rawValue, immediate: Int32(inner.count))
    bytes += inner.bytes
  }

  private mutating func emit(
    _ operation: Int32, into register: Register, _ a: Register, _ b: Register
  ) {
    emit(operation, into: register, a: a.rawValue, b: b.rawValue)
  }

  private mutating func emit(
    _ operation: Int32, into register: Register, a: UInt8 = 0, b: UInt8 = 0, immediate: Int32 = 0
  ) {
    bytes += [UInt8(truncatingIfNeeded: operation), register.rawValue, a, b]
    let value = UInt32(bitPattern: immediate)
    for shift: UInt32 in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
  }
}

extension RegionRule {
  /// Everybody with the capability may do what it allows.
  public static var open: RegionRule {
    var rule = RegionRule()
    rule.set(.r0, to: 1)
    rule.answer(.r0)
    return rule
  }

  /// Everybody may read, only the maker write.
  public static var makerWrites: RegionRule {
    var rule = RegionRule()
    rule.load(.operation, into: .r0)
    rule.when(.r0) {
      $0.load(.caller, into: .r1)
      $0.load(.maker, into: .r2)
      $0.equal(.r1, .r2, into: .r3)
      $0.answer(.r3)
    }
    rule.set(.r0, to: 1)
    rule.answer(.r0)
    return rule
  }
}
