#if hasFeature(Embedded)
  import GuestRuntime

  nonisolated(unsafe) var placeholder: UInt = 0
  @c(exo_guest_allocate)
  func allocateGuest(_ alignment: Int, _ size: Int) -> UnsafeMutableRawPointer? {
    let base = UInt(bitPattern: exo_ring_answers()) + 8192
    let start = (base + placeholder + UInt(alignment) - 1) & ~(UInt(alignment) - 1)
    placeholder = start + UInt(size) - base
    return placeholder <= 65536 ? UnsafeMutableRawPointer(bitPattern: start) : nil
  }
  @c(exo_guest_free)
  func freeGuest(_ address: UnsafeMutableRawPointer) {}
#endif
