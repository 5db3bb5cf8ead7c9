import Exo

/// One run of a guest and the end it must come to.
public struct Trial: Sendable {
  /// What the guest gets after its name.
  public var arguments: [String]
  public var input: Input
  /// Bytes of memory of its machine.
  public var memory: UInt64
  /// Most bytes of it that the guest may hold; all if nil.
  public var memoryLimit: UInt64?
  public var processors = 1
  /// Whether a witness runs beside it, and another one after it, and no frames may be missing at the end.
  public var hasWitness = false
  /// Whether another witness must be able to finish while it runs on the same processor. It is killed then.
  public var mustShare = false
  /// Whether it is let onto its machine's network, which has no device.
  public var isOnNetwork = false
  public var timeLimit: Duration
  public var ending: Ending
  public var output: Output
  /// What it must print instead on a processor that is an emulator's.
  public var emulatedOutput: Output?

  public static let usualMemory: UInt64 = 64 << 20

  /// What it may read.
  public enum Input: Sendable {
    case text(String)
    /// So many numbered lines. Made when they are needed: the table itself is looked at on every launch.
    case lines(Int)

    public var text: String {
      switch self {
      case .text(let text): text
      case .lines(let count): (0..<count).map { "line \($0)\n" }.joined()
      }
    }
  }

  /// How it must end.
  public enum Ending: Hashable, Sendable, CustomStringConvertible {
    case exited(UInt8)
    case faulted(ExceptionVector)
    case misused
    case timeLimit
    case killed

    public var description: String {
      switch self {
      case .exited(let status): "exit \(status)"
      case .faulted(let vector): "fault \(vector.mnemonic)"
      case .misused: "misuse"
      case .timeLimit: "time limit"
      case .killed: "killed"
      }
    }
  }

  /// What it must print.
  public enum Output: Sendable {
    case anything
    case exactly(String)
    case containing([String])
    /// What it was given to read.
    case input
  }

  init(
    arguments: [String] = [], input: Input = .text(""), memory: UInt64 = usualMemory,
    timeLimit: Duration = .seconds(120), ending: Ending = .exited(0), output: Output = .anything
  ) {
    self.arguments = arguments
    self.input = input
    self.memory = memory
    self.timeLimit = timeLimit
    self.ending = ending
    self.output = output
  }
}

extension Trial.Ending {
  /// The end an environment came to, as far as a trial tells ends apart; nil for one that no trial may want.
  public init?(_ outcome: Outcome) {
    switch outcome {
    case .exited(let status): self = .exited(status)
    case .faulted(let report): self = .faulted(report.vector)
    case .misused: self = .misused
    case .timeLimit: self = .timeLimit
    case .killed: self = .killed
    case .hostFailure: return nil
    }
  }
}
