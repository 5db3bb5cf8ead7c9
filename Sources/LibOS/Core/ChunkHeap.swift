/// A heap of size classes over chunks. Small objects share chunks by class; a chunk is mapped page by page as it
/// fills, so that a class used once costs a page. A larger allocation has a chunk of its own. A chunk with no
/// object left goes back to the source, all but one of each class, up to `ChunkHeader.keptPages` together, and one large one:
/// a program at a chunk's edge, one that grows an array, or one whose objects of several sizes come and go with each packet
/// does not map and unmap with every call.
///
/// It runs where there is no heap yet: it keeps its state in memory it is given and in the chunks themselves.
/// One thread at a time.
struct ChunkHeap<Source: HeapSource>: ~Copyable {
  static var pageSize: Int { 4096 }
  /// Bytes of memory `attach` wants.
  static var bookSize: Int {
    SizeClass.count * MemoryLayout<UInt>.stride
      + AddressRanges.tableEntries * MemoryLayout<AddressRanges.Free>.stride
  }

  var source: Source
  var addresses = AddressRanges()
  var lists: UInt = 0
  /// The classes of which a chunk without objects is kept, a bit each, and the pages of those chunks.
  var emptyClasses: UInt64 = 0
  var emptyPages = 0
  var spare: UInt = 0
  var statistics = HeapStatistics()

  @inline(__always)
  init(source: Source) { self.source = source }

  /// Makes the heap ready for use.
  /// - Parameters:
  ///   - region: addresses to place chunks at; the ends are multiples of `ChunkHeader.reach`.
  ///   - book: zeroed memory of `bookSize` bytes, the heap's own from now on.
  mutating func attach(region: Range<UInt>, book: UnsafeMutableRawPointer) {
    lists = UInt(bitPattern: book)
    let table = book + SizeClass.count * MemoryLayout<UInt>.stride
    addresses = AddressRanges(
      region: region, table: table.assumingMemoryBound(to: AddressRanges.Free.self))
  }

  /// Memory of so many bytes on a multiple of `alignment`, a power of two; nil when there is none to be had.
  mutating func allocate(size: Int, alignment: Int) -> UInt? {
    if let address = attempt(size: size, alignment: alignment) { return address }
    // The spare chunks may be what is missing.
    return trim() ? attempt(size: size, alignment: alignment) : nil
  }

  mutating func attempt(size: Int, alignment: Int) -> UInt? {
    if size <= SizeClass.largest, alignment <= Self.pageSize {
      return allocateSmall(SizeClass(size: size, alignment: alignment))
    }
    return allocateLarge(size: size, alignment: alignment)
  }

  /// Takes back what `allocate` gave out.
  mutating func free(_ address: UInt) {
    let chunk = Self.chunk(of: address)
    switch chunk.pointee.kind {
    case ChunkHeader.smallKind: freeSmall(address, chunk)
    case ChunkHeader.largeKind where chunk.pointee.fresh == address: freeLarge(chunk)
    default: preconditionFailure("not an allocation")
    }
  }

  /// Gives the spare chunks back too, if there are any.
  @discardableResult
  mutating func trim() -> Bool {
    let gave = releaseSpare()
    guard emptyClasses != 0 else { return gave }
    while emptyClasses != 0 {
      let index = emptyClasses.trailingZeroBitCount
      emptyClasses &= emptyClasses - 1
      var at = list(index).pointee
      while at != 0 {
        let chunk = Self.header(at)
        at = chunk.pointee.next
        if chunk.pointee.used == 0 { release(chunk) }
      }
    }
    emptyPages = 0
    return true
  }

  // MARK: - Small objects

  @inline(__always)
  mutating func allocateSmall(_ sizeClass: SizeClass) -> UInt? {
    let head = list(sizeClass.index).pointee
    if head != 0 {
      let chunk = Self.header(head)
      let object = chunk.pointee.free
      if object != 0 {
        chunk.pointee.free = Self.link(object).pointee
        take(chunk, sizeClass)
        return object
      }
    }
    return allocateFresh(sizeClass)
  }

  /// An object that was never given out: from the one chunk of the class that is not yet full once over, or
  /// from a new one. That chunk is the last of its list, and others in the list have objects to give, so it comes
  /// first only when it is alone.
  mutating func allocateFresh(_ sizeClass: SizeClass) -> UInt? {
    if list(sizeClass.index).pointee == 0 {
      guard let chunk = newChunk(sizeClass) else { return nil }
      push(chunk, sizeClass.index)
      keep(chunk, sizeClass)
    }
    let chunk = Self.header(list(sizeClass.index).pointee)
    let object = chunk.pointee.fresh
    let end = object + UInt(sizeClass.size)
    let needed = Self.pages(Int(end - UInt(bitPattern: chunk)))
    let mapped = Int(chunk.pointee.mappedPages)
    if needed > mapped {
      // Doubling keeps the calls for a full chunk few; what is needed has to be there.
      let wanted = max(needed, min(2 * mapped, ChunkHeader.reach / Self.pageSize))
      guard extend(chunk, to: wanted) || Int(chunk.pointee.mappedPages) >= needed else { return nil }
    }
    chunk.pointee.fresh = end
    take(chunk, sizeClass)
    return object
  }

  /// Counts an object of this chunk as given out.
  @inline(__always)
  mutating func take(_ chunk: UnsafeMutablePointer<ChunkHeader>, _ sizeClass: SizeClass) {
    if chunk.pointee.used == 0 {
      emptyClasses &= ~(1 << UInt64(sizeClass.index))
      emptyPages -= Int(chunk.pointee.mappedPages)
    }
    chunk.pointee.used += 1
    statistics.allocations += 1
    statistics.bytes += sizeClass.size
    if Self.isFull(chunk, sizeClass) { unlink(chunk) }
  }

  @inline(__always)
  mutating func freeSmall(_ address: UInt, _ chunk: UnsafeMutablePointer<ChunkHeader>) {
    let sizeClass = SizeClass(index: Int(chunk.pointee.classIndex))
    precondition(address < chunk.pointee.fresh && chunk.pointee.used > 0, "not an allocation")
    if Self.isFull(chunk, sizeClass) { push(chunk, sizeClass.index) }
    Self.link(address).pointee = chunk.pointee.free
    chunk.pointee.free = address
    chunk.pointee.used -= 1
    statistics.allocations -= 1
    statistics.bytes -= sizeClass.size
    guard chunk.pointee.used == 0 else { return }
    let isFirst = emptyClasses & 1 << UInt64(sizeClass.index) == 0
    let hasRoom = emptyPages + Int(chunk.pointee.mappedPages) <= ChunkHeader.keptPages
    if isFirst && (hasRoom || emptyClasses == 0) { keep(chunk, sizeClass) } else { release(chunk) }
  }

  /// Counts a chunk of a class as without objects, the only one.
  @inline(__always)
  mutating func keep(_ chunk: UnsafeMutablePointer<ChunkHeader>, _ sizeClass: SizeClass) {
    emptyClasses |= 1 << UInt64(sizeClass.index)
    emptyPages += Int(chunk.pointee.mappedPages)
  }

  /// Whether every object of a chunk is given out; it is then in no list.
  @inline(__always)
  static func isFull(_ chunk: UnsafeMutablePointer<ChunkHeader>, _ sizeClass: SizeClass) -> Bool {
    let end = UInt(bitPattern: chunk) + UInt(ChunkHeader.reach)
    return chunk.pointee.free == 0 && chunk.pointee.fresh + UInt(sizeClass.size) > end
  }

  mutating func newChunk(_ sizeClass: SizeClass) -> UnsafeMutablePointer<ChunkHeader>? {
    // The first object's place has the alignment all objects of the class can have, up to a page.
    let alignment = min(sizeClass.size & -sizeClass.size, Self.pageSize)
    let first = (ChunkHeader.smallStart + alignment - 1) & -alignment
    let reach = UInt(ChunkHeader.reach)
    guard let base = addresses.take(size: reach, alignment: reach, offset: 0) else { return nil }
    let header = ChunkHeader(
      kind: ChunkHeader.smallKind, classIndex: UInt32(sizeClass.index), fresh: base + UInt(first))
    if let chunk = begin(base, header, pages: Self.pages(first + sizeClass.size)) { return chunk }
    addresses.give(start: base, size: reach)
    return nil
  }

  mutating func release(_ chunk: UnsafeMutablePointer<ChunkHeader>) {
    unlink(chunk)
    unmapAll(chunk)
    addresses.give(start: UInt(bitPattern: chunk), size: UInt(ChunkHeader.reach))
  }
}
