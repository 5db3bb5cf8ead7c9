import ExoABI

/// What may be done with memory. The raw values are the ABI's.
public struct Rights: OptionSet, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static let read = Rights(rawValue: UInt32(EXO_READ))
  public static let write = Rights(rawValue: UInt32(EXO_WRITE))
  public static let execute = Rights(rawValue: UInt32(EXO_EXECUTE))
  public static let all: Rights = [.read, .write, .execute]

  /// What a page with these rights allows: x86 has none that may be written or executed but not read.
  var onHardware: Rights { isEmpty ? [] : union(.read) }

  /// As `ls` would show it: `rwx`, with `-` for what is missing.
  public var description: String {
    "\(contains(.read) ? "r" : "-")\(contains(.write) ? "w" : "-")\(contains(.execute) ? "x" : "-")"
  }
}
