/// Allocations that have a chunk of their own.
extension ChunkHeap {
  mutating func allocateLarge(size: Int, alignment: Int) -> UInt? {
    // Far beyond any machine, and far from overflow.
    guard size < 1 << 46, alignment < 1 << 40 else { return nil }
    if let address = reuseSpare(size: size, alignment: alignment) { return address }
    let reserved = Self.reserved(size)
    let reach = UInt(ChunkHeader.reach)
    guard let base = addresses.take(size: reserved, alignment: max(UInt(alignment), reach), offset: reach)
    else {
      return nil
    }
    let header = ChunkHeader(
      kind: ChunkHeader.largeKind, classIndex: 0, free: reserved, fresh: 0, used: size)
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
    statistics.allocations -= 1
    statistics.bytes -= chunk.pointee.used
    guard chunk.pointee.mappedPages <= ChunkHeader.largestSpare else { return releaseLarge(chunk) }
    // The newer takes the older one's place: it is likelier to be of the size that is wanted next.
    releaseSpare()
    chunk.pointee.kind = ChunkHeader.spareKind
    spare = UInt(bitPattern: chunk)
  }

  /// Allocates in the spare large chunk, if that fits and at most half of it is left over.
  private mutating func reuseSpare(size: Int, alignment: Int) -> UInt? {
    guard spare != 0, alignment <= ChunkHeader.reach else { return nil }
    let chunk = Self.header(spare)
    let offset = Self.offset(extents: Int(chunk.pointee.extentCount), alignment)
    let needed = Self.pages(offset + size)
    let mapped = Int(chunk.pointee.mappedPages)
    guard needed <= mapped, mapped <= 2 * needed else { return nil }
    spare = 0
    chunk.pointee.kind = ChunkHeader.largeKind
    chunk.pointee.fresh = UInt(bitPattern: chunk) + UInt(offset)
    chunk.pointee.used = size
    statistics.allocations += 1
    statistics.bytes += size
    return chunk.pointee.fresh
  }

  /// Gives the spare large chunk back, if there is one.
  @discardableResult
  mutating func releaseSpare() -> Bool {
    guard spare != 0 else { return false }
    releaseLarge(Self.header(spare))
    spare = 0
    return true
  }

  private mutating func releaseLarge(_ chunk: UnsafeMutablePointer<ChunkHeader>) {
    let reserved = chunk.pointee.free
    unmapAll(chunk)
    addresses.give(start: UInt(bitPattern: chunk), size: reserved)
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
