/// Pages that one capability pays for.
struct HeapExtent: Equatable {
  /// Of an extent that was mapped before, and is not the heap's to give back.
  static var given: UInt64 { 0 }

  var capability: UInt64
  var pages: UInt64
}

/// What stands at the start of every chunk, at a multiple of `ChunkHeader.reach`. A chunk holds either objects
/// of one size class, or one large allocation; either way its pages are mapped from its start on, without
/// gaps, and the extents they came in are listed behind the header.
struct ChunkHeader {
  /// Addresses a chunk of small objects takes up. Every object starts at most this far behind its header.
  static let reach = 65536
  static let extentsOffset = 64
  static let smallExtents = 16
  /// Where small objects may begin: an extent can be a single page, and there are sixteen.
  static let smallStart = extentsOffset + smallExtents * MemoryLayout<HeapExtent>.stride

  static let smallKind: UInt32 = 0x736d_6c31
  static let largeKind: UInt32 = 0x6c61_7231
  static let spareKind: UInt32 = 0x7370_6131
  /// Most pages of a large chunk that is kept though its allocation was freed.
  static let largestSpare = 256
  /// Most pages of small chunks together that are kept though nothing is in them; one alone may have more.
  static let keptPages = 32

  var kind: UInt32
  var classIndex: UInt32
  // The list of chunks of a class that can give another object.
  var next: UInt = 0
  var previous: UInt = 0
  /// Small: objects given back, each of which holds the address of the next. Large: addresses set aside, in bytes.
  var free: UInt = 0
  /// Small: the first object never given out. Large: the allocation.
  var fresh: UInt
  /// Small: objects in use. Large: bytes asked for.
  var used = 0
  var mappedPages: UInt32 = 0
  var extentCount: UInt32 = 0
}

/// Where a heap gets its memory.
protocol HeapSource {
  /// Maps fresh memory, at least one page and at most so many; nil when there is none to be had.
  mutating func map(_ address: UInt, pages: Int) -> HeapExtent?
  /// Gives an extent back, whole, from where it was mapped.
  mutating func unmap(_ address: UInt, _ extent: HeapExtent)
}
