/// How an environment names an entry of its own capability table: the entry's index in the low half, the
/// generation of that index in the high half. Generations count from 1, so 0 names nothing.
///
/// A handle is not a secret and confers nothing: it only means something in the table of whoever presents it.
struct CapabilityHandle: Hashable, Sendable, CustomStringConvertible {
  let rawValue: UInt64
  init(rawValue: UInt64) { self.rawValue = rawValue }
  init(index: UInt32, generation: UInt32) { rawValue = UInt64(generation) << 32 | UInt64(index) }

  var index: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }

  var description: String { "capability \(index)#\(generation)" }
}
