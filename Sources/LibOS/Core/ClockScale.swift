import ExoABI

/// How the processor's time-stamp counter relates to nanoseconds of the monotonic clock (see struct exo_machine).
public struct ClockScale: Equatable, Sendable {
  public var tickBase: UInt64
  public var nanosecondBase: UInt64
  /// Nanoseconds in a tick, times 2^32.
  public var multiplier: UInt64

  public init(_ machine: exo_machine) {
    tickBase = machine.tsc_base
    nanosecondBase = machine.clock_base
    multiplier = machine.clock_multiplier
  }

  /// The clock's reading when the counter stood at `ticks`; its base for any earlier.
  @inline(__always)
  public func nanoseconds(at ticks: UInt64) -> UInt64 {
    ticks <= tickBase ? nanosecondBase : nanosecondBase &+ nanoseconds(in: ticks - tickBase)
  }

  /// A span of ticks in nanoseconds.
  @inline(__always)
  public func nanoseconds(in ticks: UInt64) -> UInt64 {
    let (high, low) = ticks.multipliedFullWidth(by: multiplier)
    return high << 32 | low >> 32
  }

  /// A span of nanoseconds in ticks, below 2^32 of them.
  public func ticks(in nanoseconds: UInt64) -> UInt64 { (nanoseconds << 32) / max(multiplier, 1) }
}
