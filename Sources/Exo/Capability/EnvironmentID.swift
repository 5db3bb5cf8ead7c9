/// The number of an environment, unique while its machine lives. 0 is the exokernel itself.
public struct EnvironmentID: Hashable, Comparable, Sendable, CustomStringConvertible {
  public let number: UInt32
  public init(_ number: UInt32) { self.number = number }

  public static func < (a: Self, b: Self) -> Bool { a.number < b.number }
  public var description: String { "environment \(number)" }
}
