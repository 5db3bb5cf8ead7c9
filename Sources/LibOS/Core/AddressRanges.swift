/// Hands out ranges of one region of addresses, and takes them back. What lies below `top` and is free is
/// kept in a table of fixed size, in order, neighbours joined; a range that finds the table full is forgotten,
/// which costs addresses, not memory.
struct AddressRanges {
  struct Free {
    var start: UInt
    var size: UInt
  }
  static var tableEntries: Int { 128 }

  private var table: UInt
  private var count = 0
  private var top: UInt
  private let limit: UInt

  /// - Parameter table: memory for `tableEntries` entries, this value's own from now on.
  init(region: Range<UInt>, table: UnsafeMutablePointer<Free>) {
    top = region.lowerBound
    limit = region.upperBound
    self.table = UInt(bitPattern: table)
  }

  /// A region with nothing in it: a constant, unlike the other.
  @inline(__always)
  init() {
    table = 0
    top = 0
    limit = 0
  }

  private var entries: UnsafeMutablePointer<Free> {
    UnsafeMutablePointer(bitPattern: table).unsafelyUnwrapped
  }

  /// The lowest free range of a size whose start, plus `offset`, is a multiple of `alignment`, a power of two.
  /// Nil if the region is used up.
  mutating func take(size: UInt, alignment: UInt, offset: UInt) -> UInt? {
    for index in 0..<count {
      let free = entries[index]
      let start = Self.align(free.start, alignment, offset)
      guard start - free.start <= free.size, size <= free.size - (start - free.start) else { continue }
      remove(index)
      give(start: free.start, size: start - free.start)
      give(start: start + size, size: free.start + free.size - start - size)
      return start
    }
    let start = Self.align(top, alignment, offset)
    guard start >= top, start <= limit, size <= limit - start else { return nil }
    let passedOver = top
    top = start + size
    give(start: passedOver, size: start - passedOver)
    return start
  }

  /// Takes back a range, which must be whole or part of one that was handed out.
  mutating func give(start: UInt, size: UInt) {
    guard size > 0 else { return }
    var new = Free(start: start, size: size)
    var index = 0
    while index < count, entries[index].start < start { index += 1 }
    if index < count, new.start + new.size == entries[index].start {
      new.size += entries[index].size
      remove(index)
    }
    if index > 0, entries[index - 1].start + entries[index - 1].size == new.start {
      index -= 1
      new = Free(start: entries[index].start, size: entries[index].size + new.size)
      remove(index)
    }
    if new.start + new.size == top {
      top = new.start
    } else if count < Self.tableEntries {
      (entries + index + 1).update(from: entries + index, count: count - index)
      entries[index] = new
      count += 1
    }
  }

  private mutating func remove(_ index: Int) {
    (entries + index).update(from: entries + index + 1, count: count - index - 1)
    count -= 1
  }

  private static func align(_ start: UInt, _ alignment: UInt, _ offset: UInt) -> UInt {
    (start &+ offset &+ (alignment - 1)) & ~(alignment - 1) &- offset
  }
}
