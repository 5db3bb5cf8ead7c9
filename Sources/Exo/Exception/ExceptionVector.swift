import ExoABI

/// The processor's exceptions (Intel SDM 3A, table 6-1).
public struct ExceptionVector: Hashable, Comparable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public let number: UInt8
  public init(_ number: UInt8) { self.number = number }

  static let debug = ExceptionVector(1)
  static let nonMaskable = ExceptionVector(2)
  static let breakpoint = ExceptionVector(3)
  /// Raised by `int $4` alone in 64-bit mode: control transfer is through it.
  static let overflow = ExceptionVector(4)
  static let doubleFault = ExceptionVector(8)
  static let pageFault = ExceptionVector(14)
  static let machineCheck = ExceptionVector(18)

  private static let names: [UInt8: (mnemonic: String, meaning: String)] = [
    0: ("#DE", "divide error"), 1: ("#DB", "debug"), 2: ("NMI", "non-maskable interrupt"),
    3: ("#BP", "breakpoint"), 4: ("#OF", "overflow"), 5: ("#BR", "bound range exceeded"),
    6: ("#UD", "invalid instruction"), 7: ("#NM", "no floating-point unit"), 8: ("#DF", "double fault"),
    10: ("#TS", "invalid task segment"), 11: ("#NP", "segment not present"), 12: ("#SS", "stack fault"),
    13: ("#GP", "general protection"), 14: ("#PF", "page fault"), 16: ("#MF", "x87 floating-point"),
    17: ("#AC", "misaligned access"), 18: ("#MC", "machine check"), 19: ("#XM", "SIMD floating-point"),
  ]

  /// `#PF` and the like; `vector 20` where there is no name.
  public var mnemonic: String { Self.names[number]?.mnemonic ?? "vector \(number)" }
  /// In words.
  public var meaning: String { Self.names[number]?.meaning ?? "reserved" }
  public var description: String { "\(mnemonic) (\(meaning))" }
  public static func < (a: Self, b: Self) -> Bool { a.number < b.number }

  /// Whether the processor pushes an error code.
  var hasErrorCode: Bool { [8, 10, 11, 12, 13, 14, 17].contains(number) }

  /// Whether an environment may bind it. The nucleus keeps #DF, NMI and #MC.
  var isBindable: Bool {
    switch number {
    case 0, 1, 3...7, 10...14, 16, 17, 19: true
    default: false
    }
  }

  /// The interrupt stack of its class. A second delivery on one stack destroys the first frame, so page faults,
  /// debug traps and the rest are apart.
  var stackSlot: Int {
    switch number {
    case 14: Int(EXO_IST_PAGE_FAULT)
    case 1, 3: Int(EXO_IST_DEBUG)
    case 2, 8, 18: Int(EXO_IST_DOUBLE_FAULT)
    default: Int(EXO_IST_FAULT)
    }
  }

  /// The signal that Linux would send: exorun exits with 128 plus it.
  public var signal: Int32 {
    switch number {
    case 0, 16, 19: 8  // SIGFPE
    case 1, 3: 5  // SIGTRAP
    case 6: 4  // SIGILL
    case 17: 7  // SIGBUS
    default: 11  // SIGSEGV
    }
  }
}
