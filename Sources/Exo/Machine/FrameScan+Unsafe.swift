import Glibc

/// Looking at whole frames fast enough for a checker that does it after every step, optimised or not: the C library's
/// comparison passes over what is zero.
extension PhysicalMemory {
  /// Whether a frame holds nothing but zeros.
  func isZero(_ frame: Frame) -> Bool {
    // Invariant: both ranges lie within the frame's 4096 bytes. Equal to itself one word on and zero at first: all zero.
    let page = unsafe page(frame)
    return unsafe page.load(as: UInt64.self) == 0 && memcmp(page, page + 8, 4088) == 0
  }

  /// Calls `body` with every word of a frame that is not zero, in order.
  func forEachWord(of frame: Frame, _ body: (_ index: Int, _ word: UInt64) -> Void) {
    // Invariant: `line` runs over the frame's 64 lines of 64 bytes. Hardware may set accessed and dirty bits meanwhile;
    // aligned words are not torn.
    let page = unsafe page(frame)
    for line in 0..<64 {
      let start = unsafe page + line * 64
      if unsafe start.load(as: UInt64.self) == 0 && memcmp(start, start + 8, 56) == 0 { continue }
      for index in 0..<8 {
        let word = unsafe start.load(fromByteOffset: index * 8, as: UInt64.self)
        if word != 0 { body(line * 8 + index, word) }
      }
    }
  }
}
