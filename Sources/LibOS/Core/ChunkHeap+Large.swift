/// Allocations that have a chunk of their own.
extension ChunkHeap {
  mutating func allocateLarge(size: Int, alignment: Int) -> UInt? {
    // Far beyond any machine, and far from overflow.
    guard size < 1 << 46, alignment < 1 << 40 else { return nil }
    let reserved = Self.reserved(size)
    let reach = UInt(ChunkHeader.reach)
    guard let base = addresses.take(size: reserved, alignment: max(UInt(alignment), reach), offset: reach)
    else {
      return nil
    }
    let header = ChunkHeader(kind: ChunkHeader.largeKind, classIndex: 0, fresh: 0, used: size)
    if let chunk = begin(base, header, pages: Self.pages(Self.offset(extents: 1, alignment) + size)) {
      if fill(chunk, alignment: alignment) {
        statistics.allocations += 1
        statistics.bytes += size
        return chunk.pointee.fresh
      }
      unmapAll(chunk)
    }
    addresses.give(start: base, size: reserved)
    return nil
  }

  /// Maps the rest of a large chunk and says where its allocation begins. Each extent lengthens the list before
  /// it by 16 bytes.
  private mutating func fill(_ chunk: UnsafeMutablePointer<ChunkHeader>, alignment: Int) -> Bool {
    while true {
      let offset = Self.offset(extents: Int(chunk.pointee.extentCount), alignment)
      guard offset <= ChunkHeader.reach else { return false }
      let needed = Self.pages(offset + chunk.pointee.used)
      if Int(chunk.pointee.mappedPages) >= needed {
        chunk.pointee.fresh = UInt(bitPattern: chunk) + UInt(offset)
        return true
      }
      guard addExtent(chunk, pages: needed - Int(chunk.pointee.mappedPages)) else { return false }
    }
  }

  mutating func freeLarge(_ chunk: UnsafeMutablePointer<ChunkHeader>) {
    let size = chunk.pointee.used
    statistics.allocations -= 1
    statistics.bytes -= size
    unmapAll(chunk)
    addresses.give(start: UInt(bitPattern: chunk), size: Self.reserved(size))
  }

  /// Where an allocation begins in its chunk: at the first fit behind the list of extents, at most one reach
  /// from its header, which is how the header is found again.
  private static func offset(extents: Int, _ alignment: Int) -> Int {
    let list = ChunkHeader.extentsOffset + extents * MemoryLayout<HeapExtent>.stride
    let step = min(alignment, ChunkHeader.reach)
    return (list + step - 1) & -step
  }

  /// Addresses set aside for a large chunk, wherever in the first reach its allocation begins.
  private static func reserved(_ size: Int) -> UInt {
    UInt(size + 2 * ChunkHeader.reach - 1) & ~UInt(ChunkHeader.reach - 1)
  }
}
