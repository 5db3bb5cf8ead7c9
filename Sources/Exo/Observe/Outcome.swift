/// How an environment ended.
public enum Outcome: Hashable, Sendable {
  /// It said so itself.
  case exited(status: UInt8)
  /// An exception that it had not bound, or that the nucleus keeps.
  case faulted(FaultReport)
  /// It broke the rules of an interface between it and the exokernel.
  case misused(Misuse)
  /// The limit that its creator set on its time ran out.
  case timeLimit(Duration)
  /// The host's program, or an environment with the authority, ended it and gave this status.
  case killed(status: UInt8)
  /// The host's kernel would not run it on; the machine is unusable.
  case hostFailure(HostError)
}

/// What an environment did that ended it.
public enum Misuse: Hashable, Sendable, CustomStringConvertible {
  case ring(RingMisuse)
  /// A device access other than those the doorbell page defines.
  case deviceAccess(address: UInt64, length: Int, isWrite: Bool)
  /// SYSCALL or SYSENTER where nothing is bound to it.
  case systemCallInstruction
  /// The processor shut down: a fault while delivering a double fault.
  case shutdown
  /// KVM could not carry an instruction out.
  case emulation(code: UInt32)
  /// An exit that the design leaves no way to.
  case unexpectedExit(reason: UInt32)

  public var description: String {
    switch self {
    case .ring(let misuse): misuse.description
    case .deviceAccess(let address, let length, let isWrite):
      "\(isWrite ? "write" : "read") of \(length) bytes at device address \(hexadecimal(address))"
    case .systemCallInstruction: "SYSCALL or SYSENTER, which nothing is bound to"
    case .shutdown: "the processor shut down (a fault while delivering a double fault)"
    case .emulation(let code): "an instruction KVM could not emulate (suberror \(code))"
    case .unexpectedExit(let reason): "an unexpected exit from the guest (KVM reason \(reason))"
    }
  }
}
