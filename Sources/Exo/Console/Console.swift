/// Where an environment's console reads from and writes to.
public struct Console: Sendable {
  public enum Input: Sendable {
    /// A descriptor of the host that stays open while the environment lives.
    case descriptor(Int32)
    case bytes([UInt8])
    case empty
  }
  public enum Output: Sendable {
    /// A descriptor of the host that stays open while the environment lives.
    case descriptor(Int32)
    /// Called with each write, from one of the machine's threads, in order.
    case handler(@Sendable ([UInt8]) -> Void)
    case discard
  }
  public var input: Input
  public var output: Output
  /// Called when a write finds that nobody reads the output any more, from one of the machine's threads, which no
  /// SIGPIPE reaches. The environment is told in any case.
  public var whenBroken: (@Sendable () -> Void)?

  public init(input: Input = .empty, output: Output = .discard) {
    self.input = input
    self.output = output
  }
  /// The host program's own standard input and output.
  public static let standard = Console(input: .descriptor(0), output: .descriptor(1))
}
