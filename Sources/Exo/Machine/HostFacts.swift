import CKVM
import Glibc

/// Bytes of memory the host has in all.
func hostMemory() -> UInt64 {
  let pages = sysconf(CInt(_SC_PHYS_PAGES))
  let size = sysconf(CInt(_SC_PAGESIZE))
  return pages > 0 && size > 0 ? UInt64(pages) * UInt64(size) : 0
}

extension Machine {
  /// The time-stamp counter's frequency in kHz: KVM's word for it, else measured over 10 ms.
  static func tscFrequency(_ hardware: Hardware) throws(HostError) -> Int {
    let khz = ckvm_tsc_khz(hardware.vm.number)
    if khz > 0 { return Int(khz) }
    let (start, began) = (ckvm_tsc(), ckvm_monotonic())
    while ckvm_monotonic() &- began < 10_000_000 { ckvm_pause() }
    let (ticks, elapsed) = (ckvm_tsc() &- start, ckvm_monotonic() &- began)
    return Int(ticks * 1_000_000 / elapsed)
  }
}
