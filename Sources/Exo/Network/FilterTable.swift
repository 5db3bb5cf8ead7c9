/// Where a compiled branch finds what comes after a value. Its code knows the table by its form, so that values come and go without
/// a new instruction as long as that is the same.
///
/// It grows while values come and go, a bounded number of entries with each: meanwhile some are still where they were, and its code
/// looks there too.
final class FilterTable {
  typealias Entry = FilterSlots.Entry

  /// What code that looks something up depends on.
  struct Form: Equatable {
    var place: FilterSlots.Place
    /// Where those are that have not been moved yet.
    var previous: FilterSlots.Place?
    /// Whether any entry leads on, or ever has.
    var leadsOn = false
  }
  private(set) var form: Form

  private var slots: FilterSlots
  /// While it grows: those before it, of which all below `cursor` are unused.
  private var previous: FilterSlots?
  private var cursor = 0
  private(set) var count = 0
  /// How many entries were moved, ever.
  private(set) var moved = 0

  /// How far an entry may be from its place before the table grows. A table of few values has room to give each its own.
  private var reach: Int { count < 16 ? 0 : count < 1024 ? 2 : 16 }
  private static let farthest = FilterSlots.slack - 2
  private static let capacityLimit = 1 << 22
  /// A table of so many values is moved at once.
  static let small = 256
  /// Slots that are looked at with each change while it grows, and those in use that follow without a gap.
  static let step = 256

  init(multiplier: UInt32) {
    slots = FilterSlots(capacity: 8, multiplier: multiplier)
    form = Form(place: slots.place)
  }

  private func find(_ value: UInt32) -> (slots: FilterSlots, index: Int)? {
    if let index = slots.find(value) { return (slots, index) }
    if let previous, let index = previous.find(value) { return (previous, index) }
    return nil
  }
  func entry(of value: UInt32) -> Entry? { find(value).map { $0.slots[$0.index] } }

  /// Adds an entry or replaces the one of that value. False if it cannot be done: too many values share a place.
  func set(_ entry: Entry) -> Bool {
    if entry.target != 0 { form.leadsOn = true }
    if let (slots, index) = find(entry.value) {
      slots.set(index, entry)
      return true
    }
    guard moveSome() else { return false }
    if (count + 1) * 2 > slots.capacity, !grow() { return false }
    // Those that are still to come have been counted upon.
    while !slots.add(entry, reach: previous == nil ? reach : Self.farthest) {
      // Far too empty for that: the values were chosen to collide, or luck is very bad. Then any place within the slack will do.
      if slots.capacity >= 64 * (count + 1) {
        guard slots.add(entry, reach: Self.farthest) else { return false }
        break
      }
      guard grow() else { return false }
    }
    count += 1
    return true
  }
  func setTarget(_ target: UInt32, of value: UInt32) {
    guard let (slots, index) = find(value) else { return }
    if target != 0 { form.leadsOn = true }
    var changed = slots[index]
    changed.target = target
    slots.set(index, changed)
  }
  func setRank(_ rank: UInt64, of value: UInt32) {
    guard let (slots, index) = find(value) else { return }
    var changed = slots[index]
    changed.rank = rank
    slots.set(index, changed)
  }
  /// False if it cannot be done.
  func remove(_ value: UInt32) -> Bool {
    if slots.remove(value) || previous?.remove(value) ?? false { count -= 1 }
    return moveSome()
  }

  // --- growth

  private func grow() -> Bool {
    guard moveRest(), slots.capacity < Self.capacityLimit else { return false }
    (previous, cursor) = (slots, 0)
    slots = FilterSlots(capacity: slots.capacity * 2, multiplier: slots.multiplier)
    (form.place, form.previous) = (slots.place, previous?.place)
    return count > Self.small || moveRest()
  }

  /// Moves what is left to be moved. False if there is no room for it.
  func moveRest() -> Bool {
    while previous != nil {
      guard moveSome() else { return false }
    }
    return true
  }

  /// Moves a part of what is left. Those that lie together go together: nobody is looked for past an unused slot.
  private func moveSome() -> Bool {
    guard let old = previous else { return true }
    let stop = min(cursor + Self.step, old.end)
    while cursor < stop || cursor < old.end && old.isUsed(cursor) {
      if old.isUsed(cursor) {
        let entry = old[cursor]
        guard slots.add(entry, reach: Self.farthest) else { return spread() }
        old.set(cursor, nil)
        moved += 1
      }
      cursor += 1
    }
    if cursor == old.end {
      previous = nil
      form.previous = nil
    }
    return true
  }

  /// Too many share a place: all go into larger ones at once.
  private func spread() -> Bool {
    let all = [previous, slots].compactMap { $0 }.flatMap { slots in
      (0..<slots.end).filter(slots.isUsed).map { slots[$0] }
    }
    var capacity = slots.capacity
    while capacity < Self.capacityLimit {
      capacity *= 2
      slots = FilterSlots(capacity: capacity, multiplier: slots.multiplier)
      guard all.allSatisfy({ slots.add($0, reach: Self.farthest) }) else { continue }
      moved += all.count
      previous = nil
      (form.place, form.previous) = (slots.place, nil)
      return true
    }
    return false
  }
}
