import ExoABI

/// Most that an environment may consume. It comes out of its creator's own, which has it back at the end.
public struct EnvironmentQuota: Equatable, Sendable {
  public var frames: UInt64
  public var capabilities: UInt64
  public var bindings: UInt64
  public var environments: UInt64

  public init(
    frames: UInt64, capabilities: UInt64 = 64, bindings: UInt64 = 0, environments: UInt64 = 0
  ) {
    self.frames = frames
    self.capabilities = capabilities
    self.bindings = bindings
    self.environments = environments
  }
}

/// Where an environment stands.
public enum EnvironmentState: Equatable, Sendable {
  /// Never started.
  case created
  case runnable
  /// It sleeps until an exocall of its own is answered.
  case waiting
  case stopped
  case ended
  /// A number that this LibOS has no name for.
  case other(Int64)

  /// - Parameter number: `EXO_STATE_*`.
  init(number: Int64) {
    switch number {
    case Int64(EXO_STATE_CREATED): self = .created
    case Int64(EXO_STATE_RUNNABLE): self = .runnable
    case Int64(EXO_STATE_WAITING): self = .waiting
    case Int64(EXO_STATE_STOPPED): self = .stopped
    case Int64(EXO_STATE_ENDED): self = .ended
    default: self = .other(number)
    }
  }
}

/// How an environment ended.
public enum EnvironmentEnd: Equatable, Sendable {
  case exited(status: UInt8)
  /// An exception that it had not bound: the vector, and for a page fault the address touched.
  case faulted(vector: UInt8, address: UInt64)
  /// It broke the rules of an interface.
  case misused
  case timeLimit
  /// Ended by another, who gave the status.
  case killed(status: UInt8)
  case hostFailure
  /// A number that this LibOS has no name for.
  case other(Int64)

  /// From the answer to `environment_wait`: its result and its two values.
  init(code: Int64, _ first: UInt64, _ second: UInt64) {
    switch code {
    case Int64(EXO_ENDED_EXITED): self = .exited(status: UInt8(truncatingIfNeeded: first))
    case Int64(EXO_ENDED_FAULTED):
      self = .faulted(vector: UInt8(truncatingIfNeeded: first), address: second)
    case Int64(EXO_ENDED_MISUSED): self = .misused
    case Int64(EXO_ENDED_TIME_LIMIT): self = .timeLimit
    case Int64(EXO_ENDED_KILLED): self = .killed(status: UInt8(truncatingIfNeeded: first))
    case Int64(EXO_ENDED_HOST_FAILURE): self = .hostFailure
    default: self = .other(code)
    }
  }
}

extension EnvironmentEnd: CustomStringConvertible {
  public var description: String {
    switch self {
    case .exited(let status): "exited with \(status)"
    case .faulted(let vector, let address):
      vector == 14 ? "faulted at 0x\(String(address, radix: 16))" : "faulted with vector \(vector)"
    case .misused: "was ended for misuse"
    case .timeLimit: "was ended at its time limit"
    case .killed(let status): "was ended with \(status)"
    case .hostFailure: "could not be run on"
    case .other(let code): "ended in a way of number \(code)"
    }
  }
}
