/// Why a pipe took or gave no bytes.
public enum PipeError: Error, Equatable, Sendable {
  /// The other end is closed: nobody will read what is written. (The end of what a writer has written is no error: 0 bytes.)
  case closed
  /// Nothing can be done at the moment, and the caller did not want to wait.
  case wouldBlock
  case timedOut
  /// The other end's environment has ended without closing it.
  case peerEnded
  /// The shared words say what no honest peer leaves there. The pipe is of no use from then on.
  case corrupt
  /// The pipe's memory was taken away.
  case vanished
  /// More than the pipe holds was to be written in one piece.
  case tooLong
}

extension PipeError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .closed: "the other end is closed"
    case .wouldBlock: "the pipe is not ready"
    case .timedOut: "timed out"
    case .peerEnded: "the other end's environment has ended"
    case .corrupt: "the other end breaks the pipe's protocol"
    case .vanished: "the pipe's memory was taken away"
    case .tooLong: "longer than the pipe"
    }
  }
}
