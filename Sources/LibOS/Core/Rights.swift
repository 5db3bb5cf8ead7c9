import ExoABI

/// What a mapping allows.
public struct Rights: OptionSet, Sendable {
  public let rawValue: UInt64

  @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  public static var read: Rights { Rights(rawValue: UInt64(EXO_READ)) }
  public static var write: Rights { Rights(rawValue: UInt64(EXO_WRITE)) }
  public static var execute: Rights { Rights(rawValue: UInt64(EXO_EXECUTE)) }
}
