/// How an environment names an entry of its capability table: index in the low half, generation in the high half,
/// so that a handle kept past its entry's end is told from the next one. 0 is never valid.
public struct CapabilityHandle: Hashable, Sendable, CustomStringConvertible {
  public let rawValue: UInt64
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }
  init(index: UInt32, generation: UInt32) { rawValue = UInt64(generation) << 32 | UInt64(index) }

  var index: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
  public var description: String { "capability \(index).\(generation)" }
}
