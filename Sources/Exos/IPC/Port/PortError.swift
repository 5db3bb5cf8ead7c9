import LibOS

/// Why a message was not sent or received.
public enum PortError: Error, Equatable, Sendable {
  /// Nobody receives from the port any more: a dead name.
  case dead
  /// Nothing can be done at the moment, and the caller did not want to wait.
  case wouldBlock
  case timedOut
  /// The peer breaks the protocol.
  case corrupt
  /// Longer than `PortFrame.longest`, or more rights than `PortFrame.mostRights`.
  case tooLong
  case exocall(ExocallError)

  init(_ error: PipeError) {
    switch error {
    case .closed, .peerEnded: self = .dead
    case .wouldBlock: self = .wouldBlock
    case .timedOut: self = .timedOut
    case .corrupt, .vanished: self = .corrupt
    case .tooLong: self = .tooLong
    }
  }
}

extension PortError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .dead: "the port is dead"
    case .wouldBlock: "the port is not ready"
    case .timedOut: "timed out"
    case .corrupt: "the peer breaks the port's protocol"
    case .tooLong: "the message is too long"
    case .exocall(let error): error.description
    }
  }
}
