import ExoABI

/// Why an exocall was refused: the error numbers of exo_abi.h.
public enum ExocallError: Error, Equatable, Sendable {
  case notPermitted
  case noEntry
  case inputOutput
  case badCapability
  case tryAgain
  case outOfMemory
  case badAddress
  case busy
  case exists
  case invalid
  case noSpace
  case closedPipe
  case outOfRange
  case noSuchCall
  case stale
  case quotaExceeded
  case timedOut
  /// Not with this processor, or this kind of machine.
  case unsupported
  /// A number that this LibOS has no name for.
  case other(Int32)

  /// - Parameter number: positive, as in exo_abi.h.
  public init(number: Int32) {
    switch number {
    case EXO_EPERM: self = .notPermitted
    case EXO_ENOENT: self = .noEntry
    case EXO_EIO: self = .inputOutput
    case EXO_EBADF: self = .badCapability
    case EXO_EAGAIN: self = .tryAgain
    case EXO_ENOMEM: self = .outOfMemory
    case EXO_EFAULT: self = .badAddress
    case EXO_EBUSY: self = .busy
    case EXO_EEXIST: self = .exists
    case EXO_EINVAL: self = .invalid
    case EXO_ENOSPC: self = .noSpace
    case EXO_EPIPE: self = .closedPipe
    case EXO_ERANGE: self = .outOfRange
    case EXO_ENOSYS: self = .noSuchCall
    case EXO_ESTALE: self = .stale
    case EXO_EDQUOT: self = .quotaExceeded
    case EXO_ETIMEDOUT: self = .timedOut
    case EXO_EOPNOTSUPP: self = .unsupported
    default: self = .other(number)
    }
  }

  /// The number, positive, as in exo_abi.h.
  public var number: Int32 {
    switch self {
    case .notPermitted: EXO_EPERM
    case .noEntry: EXO_ENOENT
    case .inputOutput: EXO_EIO
    case .badCapability: EXO_EBADF
    case .tryAgain: EXO_EAGAIN
    case .outOfMemory: EXO_ENOMEM
    case .badAddress: EXO_EFAULT
    case .busy: EXO_EBUSY
    case .exists: EXO_EEXIST
    case .invalid: EXO_EINVAL
    case .noSpace: EXO_ENOSPC
    case .closedPipe: EXO_EPIPE
    case .outOfRange: EXO_ERANGE
    case .noSuchCall: EXO_ENOSYS
    case .stale: EXO_ESTALE
    case .quotaExceeded: EXO_EDQUOT
    case .timedOut: EXO_ETIMEDOUT
    case .unsupported: EXO_EOPNOTSUPP
    case .other(let number): number
    }
  }
}

extension ExocallError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notPermitted: "not permitted"
    case .noEntry: "no such entry"
    case .inputOutput: "input or output failed"
    case .badCapability: "bad capability"
    case .tryAgain: "try again"
    case .outOfMemory: "out of memory"
    case .badAddress: "bad address"
    case .busy: "busy"
    case .exists: "already there"
    case .invalid: "invalid argument"
    case .noSpace: "no space left"
    case .closedPipe: "the other end is closed"
    case .outOfRange: "out of range"
    case .noSuchCall: "no such call"
    case .stale: "stale capability"
    case .quotaExceeded: "quota exceeded"
    case .timedOut: "timed out"
    case .unsupported: "not supported by this machine"
    case .other(let number): "error \(number)"
    }
  }
}
