import ExoABI
import Testing

@testable import LibOSHost

@Suite struct ClockScaleTests {
  /// A counter of 2.5 GHz.
  let scale = ClockScale(
    exo_machine(
      frames_total: 0, frames_free: 0, tsc_base: 1000, clock_base: 5_000_000_000,
      clock_multiplier: UInt64(4 << 32) / 10, memory_base: 0))

  @Test func aTickIsItsShareOfANanosecond() {
    #expect(scale.nanoseconds(at: 1000) == 5_000_000_000)
    #expect(scale.nanoseconds(at: 1000 + 2500) == 5_000_000_999)
    // A year, where 64 bits of product are not enough.
    let year: UInt64 = 365 * 86400 * 1_000_000_000
    let error = Int64(scale.nanoseconds(in: year / 2 * 5)) - Int64(year)
    #expect(abs(error) < 100_000_000)
  }

  @Test func theClockNeverRunsBeforeItsBase() {
    #expect(scale.nanoseconds(at: 0) == 5_000_000_000)
    #expect(scale.nanoseconds(at: 999) == 5_000_000_000)
  }

  @Test func ticksAreTheInverse() {
    #expect((74_999...75_001).contains(scale.ticks(in: 30_000)))
    #expect(ClockScale(exo_machine()).ticks(in: 1) == 1 << 32)
  }
}
