/// Where a compiled branch finds what comes after a value. Its code knows the table by its form, so that values come and go without
/// a new instruction as long as that is the same.
///
///     entry    0 value   4 bit 31: used, bits 0-30: place in the arena to go on at, 0 for nowhere   8 rank, 0 if no filter ends here
///
/// An entry lies at (value * multiplier mod 2^32) >> shift, or after that with no unused one in between. Nothing wraps:
/// there is slack at the end, whose last entry is never used.
@safe final class FilterTable {
  struct Entry { var value: UInt32, rank: UInt64, target: UInt32 }

  /// What code that looks something up has in its instructions.
  struct Form: Equatable {
    /// Of the entries.
    var address: UInt64
    var shift: UInt32
    /// Whether any entry leads on, or ever has.
    var leadsOn = false
  }
  private(set) var form: Form

  // Invariant: room for `capacity + slack` entries, from init or growth to the next or deinit.
  private var entries: UnsafeMutableRawPointer
  private var capacity: Int
  private let multiplier: UInt32
  private(set) var count = 0

  private static let entrySize = 16
  private static let used: UInt32 = 1 << 31
  private static let slack = 33
  /// How far an entry may be from its place before the table grows. A table of few values has room to give each its own.
  private var reach: Int { count < 16 ? 0 : count < 1024 ? 2 : 16 }
  private static let capacityLimit = 1 << 22

  init(multiplier: UInt32) {
    self.multiplier = multiplier
    capacity = 8
    let first = unsafe Self.makeEntries(8)
    unsafe entries = first
    form = Form(address: UInt64(UInt(bitPattern: first)), shift: Self.shift(8))
  }
  deinit { unsafe entries.deallocate() }

  private static func makeEntries(_ capacity: Int) -> UnsafeMutableRawPointer {
    let size = (capacity + slack) * entrySize
    let room = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
    unsafe room.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    return unsafe room
  }
  private static func shift(_ capacity: Int) -> UInt32 { UInt32(32 - capacity.trailingZeroBitCount) }

  // Indices are below `capacity + slack`.
  private func isUsed(_ index: Int) -> Bool {
    unsafe entries.load(fromByteOffset: index * Self.entrySize + 4, as: UInt32.self) != 0
  }
  private func entry(_ index: Int) -> Entry {
    let place = index * Self.entrySize
    return Entry(
      value: unsafe entries.load(fromByteOffset: place, as: UInt32.self),
      rank: unsafe entries.load(fromByteOffset: place + 8, as: UInt64.self),
      target: unsafe entries.load(fromByteOffset: place + 4, as: UInt32.self) & ~Self.used)
  }
  private func set(_ index: Int, _ entry: Entry?) {
    if let entry, entry.target != 0 { form.leadsOn = true }
    let place = index * Self.entrySize
    unsafe entries.storeBytes(of: entry?.value ?? 0, toByteOffset: place, as: UInt32.self)
    let target = entry.map { $0.target | Self.used } ?? 0
    unsafe entries.storeBytes(of: target, toByteOffset: place + 4, as: UInt32.self)
    unsafe entries.storeBytes(of: entry?.rank ?? 0, toByteOffset: place + 8, as: UInt64.self)
  }
  private func home(_ value: UInt32) -> Int { Int((value &* multiplier) >> form.shift) }

  private func find(_ value: UInt32) -> Int? {
    var index = home(value)
    while isUsed(index) {
      if entry(index).value == value { return index }
      index += 1
    }
    return nil
  }

  /// Adds an entry or replaces the one of that value. False if it cannot be done: too many values share a place.
  func set(_ entry: Entry) -> Bool {
    if let index = find(entry.value) {
      set(index, entry)
      return true
    }
    if (count + 1) * 2 > capacity, !grow() { return false }
    while !place(entry, reach: reach) {
      // Far too empty for that: the values were chosen to collide, or luck is very bad. Then any place within the slack will do.
      if capacity >= 64 * (count + 1) {
        guard place(entry, reach: Self.slack - 2) else { return false }
        break
      }
      guard grow() else { return false }
    }
    count += 1
    return true
  }

  private func place(_ entry: Entry, reach: Int) -> Bool {
    let home = home(entry.value)
    guard let index = (home...home + reach).first(where: { !isUsed($0) }) else { return false }
    set(index, entry)
    return true
  }

  private func grow() -> Bool {
    let old = (0..<capacity + Self.slack).filter(isUsed).map(entry)
    while capacity < Self.capacityLimit {
      capacity *= 2
      unsafe entries.deallocate()
      unsafe entries = Self.makeEntries(capacity)
      form.address = unsafe UInt64(UInt(bitPattern: entries))
      form.shift = Self.shift(capacity)
      if old.allSatisfy({ place($0, reach: Self.slack - 2) }) { return true }
    }
    return false
  }

  func setTarget(_ target: UInt32, of value: UInt32) {
    guard let index = find(value) else { return }
    var changed = entry(index)
    changed.target = target
    set(index, changed)
  }
  func setRank(_ rank: UInt64, of value: UInt32) {
    guard let index = find(value) else { return }
    var changed = entry(index)
    changed.rank = rank
    set(index, changed)
  }

  func remove(_ value: UInt32) {
    guard var hole = find(value) else { return }
    var index = hole + 1
    // Whoever may lie further ahead does, so that no unused entry comes between it and its place.
    while isUsed(index) {
      let moved = entry(index)
      if home(moved.value) <= hole {
        set(hole, moved)
        hole = index
      }
      index += 1
    }
    set(hole, nil)
    count -= 1
  }
}
