import ExoABI

/// A part of an image as its program header describes it (ELF-64, PT_LOAD).
package struct OwnSegment: Equatable {
  /// Of its first page.
  package var address: UInt64
  package var pages: UInt64
  /// Bytes from `address` on that the image gives; what follows begins as zero.
  package var contentBytes: UInt64
  package var rights: Rights
}

/// The segments of an ELF-64 image whose header and program headers lie in memory.
package struct OwnSegments: Sequence, IteratorProtocol {
  private var following: UnsafeRawPointer
  private let stride: Int
  private var left: Int

  package init(header: UnsafeRawPointer) {
    following = header + Int(header.load(fromByteOffset: 32, as: UInt64.self))
    stride = Int(header.load(fromByteOffset: 54, as: UInt16.self))
    left = Int(header.load(fromByteOffset: 56, as: UInt16.self))
  }

  package mutating func next() -> OwnSegment? {
    while left > 0 {
      let header = following
      following += stride
      left -= 1
      guard header.load(as: UInt32.self) == 1 else { continue }  // PT_LOAD
      let flags = header.load(fromByteOffset: 4, as: UInt32.self)
      let address = header.load(fromByteOffset: 16, as: UInt64.self)
      let fileBytes = header.load(fromByteOffset: 32, as: UInt64.self)
      let memoryBytes = header.load(fromByteOffset: 40, as: UInt64.self)
      let page = address & ~0xfff
      // PF_X is 1, PF_W 2, PF_R 4.
      let rights: Rights =
        flags & 2 != 0 ? [.read, .write] : flags & 1 != 0 ? [.read, .execute] : .read
      return OwnSegment(
        address: page, pages: (address + memoryBytes - page + 4095) >> 12,
        contentBytes: address + fileBytes - page, rights: rights)
    }
    return nil
  }
}
