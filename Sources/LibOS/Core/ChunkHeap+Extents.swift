/// Chunks, their pages and their lists.
extension ChunkHeap {
  /// Maps a chunk's first extent and writes its header there.
  mutating func begin(_ base: UInt, _ header: ChunkHeader, pages: Int) -> UnsafeMutablePointer<ChunkHeader>? {
    guard let extent = source.map(base, pages: pages) else { return nil }
    let chunk = Self.header(base)
    chunk.initialize(to: header)
    record(extent, in: chunk)
    // A small chunk's first object has to fit.
    if header.kind == ChunkHeader.smallKind, !extend(chunk, to: pages) {
      unmapAll(chunk)
      return nil
    }
    return chunk
  }

  /// Maps more of a chunk until so many pages are.
  mutating func extend(_ chunk: UnsafeMutablePointer<ChunkHeader>, to pages: Int) -> Bool {
    while Int(chunk.pointee.mappedPages) < pages {
      guard addExtent(chunk, pages: pages - Int(chunk.pointee.mappedPages)) else { return false }
    }
    return true
  }

  /// Maps one more extent, of at most so many pages.
  mutating func addExtent(_ chunk: UnsafeMutablePointer<ChunkHeader>, pages: Int) -> Bool {
    let end = UInt(bitPattern: chunk) + UInt(chunk.pointee.mappedPages) * UInt(Self.pageSize)
    guard let extent = source.map(end, pages: pages) else { return false }
    record(extent, in: chunk)
    return true
  }

  /// Lists an extent that has just been mapped. Its place in the list is mapped too: each extent is a page at
  /// least, and a page holds far more than one entry.
  private mutating func record(_ extent: HeapExtent, in chunk: UnsafeMutablePointer<ChunkHeader>) {
    (Self.extents(chunk) + Int(chunk.pointee.extentCount)).initialize(to: extent)
    chunk.pointee.extentCount += 1
    chunk.pointee.mappedPages += UInt32(extent.pages)
    statistics.pages += Int(extent.pages)
    statistics.peakPages = max(statistics.peakPages, statistics.pages)
  }

  /// Gives all of a chunk's pages back, from the end, so that the list is there until its last entry is used.
  mutating func unmapAll(_ chunk: UnsafeMutablePointer<ChunkHeader>) {
    var index = Int(chunk.pointee.extentCount)
    var end = UInt(bitPattern: chunk) + UInt(chunk.pointee.mappedPages) * UInt(Self.pageSize)
    while index > 0 {
      index -= 1
      let extent = Self.extents(chunk)[index]
      end -= UInt(extent.pages) * UInt(Self.pageSize)
      statistics.pages -= Int(extent.pages)
      source.unmap(end, extent)
    }
  }

  // MARK: - Lists

  @inline(__always)
  func list(_ index: Int) -> UnsafeMutablePointer<UInt> {
    UnsafeMutablePointer<UInt>(bitPattern: lists).unsafelyUnwrapped + index
  }

  /// Puts a chunk first in its class's list.
  mutating func push(_ chunk: UnsafeMutablePointer<ChunkHeader>, _ index: Int) {
    let head = list(index).pointee
    chunk.pointee.next = head
    chunk.pointee.previous = 0
    if head != 0 { Self.header(head).pointee.previous = UInt(bitPattern: chunk) }
    list(index).pointee = UInt(bitPattern: chunk)
  }

  mutating func unlink(_ chunk: UnsafeMutablePointer<ChunkHeader>) {
    let next = chunk.pointee.next
    let previous = chunk.pointee.previous
    if next != 0 { Self.header(next).pointee.previous = previous }
    if previous != 0 {
      Self.header(previous).pointee.next = next
    } else {
      list(Int(chunk.pointee.classIndex)).pointee = next
    }
  }

  // MARK: - Addresses

  @inline(__always)
  static func header(_ base: UInt) -> UnsafeMutablePointer<ChunkHeader> {
    UnsafeMutablePointer(bitPattern: base).unsafelyUnwrapped
  }

  /// The chunk an allocation lies in. A large one may begin exactly one reach behind its header.
  @inline(__always)
  static func chunk(of address: UInt) -> UnsafeMutablePointer<ChunkHeader> {
    header((address - 1) & ~UInt(ChunkHeader.reach - 1))
  }

  /// Where a free object keeps the address of the next.
  @inline(__always)
  static func link(_ object: UInt) -> UnsafeMutablePointer<UInt> {
    UnsafeMutablePointer(bitPattern: object).unsafelyUnwrapped
  }

  static func extents(_ chunk: UnsafeMutablePointer<ChunkHeader>) -> UnsafeMutablePointer<HeapExtent> {
    (UnsafeMutableRawPointer(chunk) + ChunkHeader.extentsOffset).assumingMemoryBound(to: HeapExtent.self)
  }

  @inline(__always)
  static func pages(_ bytes: Int) -> Int { (bytes + pageSize - 1) / pageSize }
}
