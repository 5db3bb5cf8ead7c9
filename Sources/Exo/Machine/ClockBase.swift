import CKVM

/// How to turn the time-stamp counter into nanoseconds of the host's monotonic clock:
/// `nanoseconds + (tsc - self.tsc) * multiplier / 2^32`. Environments read it from the machine page.
struct ClockBase: Hashable, Sendable {
  let tsc: UInt64
  let nanoseconds: UInt64
  let multiplier: UInt64

  /// Takes both readings as close together as possible. `frequency` is in kHz.
  init(frequency: Int) {
    var best: (gap: UInt64, tsc: UInt64, now: UInt64) = (.max, 0, 0)
    for _ in 0..<4 {
      let before = ckvm_tsc()
      let now = ckvm_monotonic()
      let after = ckvm_tsc()
      if after &- before < best.gap { best = (after &- before, before + (after &- before) / 2, now) }
    }
    tsc = best.tsc
    nanoseconds = best.now
    multiplier = (1_000_000 << 32) / UInt64(max(frequency, 1))
  }
}
