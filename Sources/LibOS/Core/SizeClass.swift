/// The sizes small allocations are rounded up to: multiples of 16 bytes to 128, then four to each doubling, so
/// that rounding wastes a fifth at most.
struct SizeClass: Equatable {
  /// 0 for 16 bytes, up to 35 for 16 KiB.
  let index: Int

  static let count = 36
  static let largest = 16384

  @inline(__always)
  init(index: Int) { self.index = index }

  /// The smallest class for a size of 0 to `largest` bytes.
  @inline(__always)
  init(size: Int) {
    if size <= 128 {
      index = max(size + 15, 16) >> 4 - 1
    } else {
      let highest = 63 - (size - 1).leadingZeroBitCount
      index = 8 + (highest - 7) * 4 + ((size - 1) >> (highest - 2)) & 3
    }
  }

  /// The smallest class whose every object lies on a multiple of `alignment`, a power of two up to a page;
  /// given that the first does.
  @inline(__always)
  init(size: Int, alignment: Int) {
    self.init(size: size)
    // The last class of each doubling is a power of two, so this stops before the next.
    while self.size & (alignment - 1) != 0 {
      self = SizeClass(index: index + 1)
    }
  }

  /// Bytes in an object of this class.
  @inline(__always)
  var size: Int {
    if index < 8 { return (index + 1) << 4 }
    let doubling = (index - 8) >> 2
    return (128 + ((index - 8) & 3 + 1) * 32) << doubling
  }
}
