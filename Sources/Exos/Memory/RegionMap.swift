/// Ranges of pages that do not overlap, in order, each with what belongs to it.
public struct RegionMap<Value> {
  public struct Entry {
    /// Of the first page.
    public let start: UInt64
    public let pages: UInt64
    public var value: Value
    /// One past the last byte.
    public var end: UInt64 { start + pages << 12 }
  }
  public private(set) var entries: [Entry] = []

  public init() {}

  /// Adds a range; false if it overlaps another or has no pages.
  public mutating func insert(start: UInt64, pages: UInt64, _ value: Value) -> Bool {
    guard start & 4095 == 0, pages > 0, pages < 1 << 40, start < 1 << 47, pages << 12 <= 1 << 47 - start
    else {
      return false
    }
    let place = index(after: start)
    let new = Entry(start: start, pages: pages, value: value)
    if place > 0, entries[place - 1].end > start { return false }
    if place < entries.count, entries[place].start < new.end { return false }
    entries.insert(new, at: place)
    return true
  }

  /// Where the range that an address is part of is kept.
  public func index(of address: UInt64) -> Int? {
    let place = index(after: address)
    guard place > 0, address < entries[place - 1].end else { return nil }
    return place - 1
  }

  public subscript(address: UInt64) -> Value? {
    get { index(of: address).map { entries[$0].value } }
  }

  /// Takes the range away that begins at an address.
  public mutating func remove(start: UInt64) -> Value? {
    guard let place = index(of: start), entries[place].start == start else { return nil }
    return entries.remove(at: place).value
  }

  /// The lowest start within bounds of so many pages that are free, with a free page on either side: what runs over
  /// a range's end faults.
  public func gap(pages: UInt64, in bounds: Range<UInt64>) -> UInt64? {
    var start = bounds.lowerBound + 4096
    for entry in entries where entry.end > bounds.lowerBound {
      if entry.start >= start, entry.start - start >= (pages + 1) << 12 { break }
      start = max(start, entry.end + 4096)
    }
    return start <= bounds.upperBound && bounds.upperBound - start >= pages << 12 ? start : nil
  }

  /// The number of ranges that start at or before an address.
  private func index(after address: UInt64) -> Int {
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].start <= address { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
