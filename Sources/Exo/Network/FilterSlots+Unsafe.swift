import Glibc

/// Values with what follows them, in memory that compiled code looks into; `FilterTable` has one or, while it grows, two of them.
///
///     entry    0 value   4 bit 31: used, bits 0-30: place in the arena to go on at, 0 for nowhere   8 rank, 0 if no filter ends here
///
/// An entry lies at (value * multiplier mod 2^32) >> shift, or after that with no unused one in between. Nothing wraps:
/// there is slack at the end, whose last entry is never used.
@safe final class FilterSlots {
  struct Entry: Equatable { var value: UInt32, rank: UInt64, target: UInt32 }
  /// What code that looks something up has in its instructions.
  struct Place: Equatable {
    /// Of the entries.
    let address: UInt64
    let shift: UInt32
  }

  // Invariant: room for `end` entries, from init to deinit. Indices are below that.
  private let entries: UnsafeMutableRawPointer
  let capacity: Int
  let multiplier: UInt32
  private let shift: UInt32

  private static let entrySize = 16
  private static let used: UInt32 = 1 << 31
  static let slack = 33

  /// - Parameter capacity: a power of two.
  init(capacity: Int, multiplier: UInt32) {
    self.capacity = capacity
    self.multiplier = multiplier
    shift = UInt32(32 - capacity.trailingZeroBitCount)
    // Large ones are zero without being touched.
    guard let room = unsafe calloc(capacity + Self.slack, Self.entrySize) else {
      fatalError("no memory for filters")
    }
    unsafe entries = room
  }
  deinit { unsafe free(entries) }

  var place: Place { Place(address: unsafe UInt64(UInt(bitPattern: entries)), shift: shift) }
  var end: Int { capacity + Self.slack }

  func isUsed(_ index: Int) -> Bool {
    unsafe entries.load(fromByteOffset: index * Self.entrySize + 4, as: UInt32.self) != 0
  }
  subscript(index: Int) -> Entry {
    let place = index * Self.entrySize
    return Entry(
      value: unsafe entries.load(fromByteOffset: place, as: UInt32.self),
      rank: unsafe entries.load(fromByteOffset: place + 8, as: UInt64.self),
      target: unsafe entries.load(fromByteOffset: place + 4, as: UInt32.self) & ~Self.used)
  }
  func set(_ index: Int, _ entry: Entry?) {
    let place = index * Self.entrySize
    unsafe entries.storeBytes(of: entry?.value ?? 0, toByteOffset: place, as: UInt32.self)
    let target = entry.map { $0.target | Self.used } ?? 0
    unsafe entries.storeBytes(of: target, toByteOffset: place + 4, as: UInt32.self)
    unsafe entries.storeBytes(of: entry?.rank ?? 0, toByteOffset: place + 8, as: UInt64.self)
  }

  private func home(_ value: UInt32) -> Int { Int((value &* multiplier) >> shift) }
  func find(_ value: UInt32) -> Int? {
    var index = home(value)
    while isUsed(index) {
      if self[index].value == value { return index }
      index += 1
    }
    return nil
  }

  /// Adds an entry of a value that is not there. False if there is no room within so many from where it belongs.
  func add(_ entry: Entry, reach: Int) -> Bool {
    let home = home(entry.value)
    guard let index = (home...home + reach).first(where: { !isUsed($0) }) else { return false }
    set(index, entry)
    return true
  }

  /// False if it is not there.
  func remove(_ value: UInt32) -> Bool {
    guard var hole = find(value) else { return false }
    var index = hole + 1
    // Whoever may lie further ahead does, so that no unused entry comes between it and its place.
    while isUsed(index) {
      let moved = self[index]
      if home(moved.value) <= hole {
        set(hole, moved)
        hole = index
      }
      index += 1
    }
    set(hole, nil)
    return true
  }
}
