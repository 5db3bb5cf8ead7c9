import Exo

/// What exorun's exit code says. A guest's own status is passed through, so a script that must tell apart what
/// shares a number asks for a report.
enum ExitStatus: Hashable {
  /// The guest's own.
  case guest(UInt8)
  /// 122: the guest broke the rules of an interface.
  case misuse
  /// 123: its quota ran out or what it lived on was taken back.
  case quota
  /// 124: its time limit ran out.
  case timeLimit
  /// 125: exorun, KVM or the way they were used.
  case usage
  /// 126: the file is no image that can run.
  case notRunnable
  /// 127: there is no such guest.
  case noSuchGuest
  /// 128 + n: a fault where Linux would send signal n, or exorun ended by that signal.
  case signal(Int32)

  var code: Int32 {
    switch self {
    case .guest(let status): Int32(status)
    case .misuse: 122
    case .quota: 123
    case .timeLimit: 124
    case .usage: 125
    case .notRunnable: 126
    case .noSuchGuest: 127
    case .signal(let number): 128 + number
    }
  }

  /// - Parameter signal: the signal that made exorun end the guest, if one did.
  init(_ outcome: Outcome, signal: Int32?) {
    switch outcome {
    case .exited(let status): self = .guest(status)
    case .faulted(let report): self = .signal(report.vector.signal)
    case .misused: self = .misuse
    case .timeLimit: self = .timeLimit
    case .killed(let status): self = signal.map { .signal($0) } ?? .guest(status)
    case .hostFailure: self = .usage
    }
  }
}

/// Why a command could not do what it was asked to: one line for standard error.
struct Failure: Error {
  let status: ExitStatus
  let message: String
  init(_ status: ExitStatus, _ message: String) {
    self.status = status
    self.message = message
  }
}
