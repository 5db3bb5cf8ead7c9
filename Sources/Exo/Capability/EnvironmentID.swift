/// The name of an environment. Numbers are not reused while a machine runs, so a name that outlives its
/// environment names nothing.
public struct EnvironmentID: Hashable, Comparable, Sendable, CustomStringConvertible {
  public let number: UInt32
  public init(_ number: UInt32) { self.number = number }

  public static func < (a: Self, b: Self) -> Bool { a.number < b.number }
  public var description: String { "environment \(number)" }
}
