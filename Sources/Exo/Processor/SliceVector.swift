/// The linear vector of a processor's time slices, as in Aegis: each slot belongs to whoever holds a capability to it, and
/// runs the environment that was bound to it. Position is meaning: an environment that wants low latency spreads its
/// slots, one that wants throughput takes them side by side.
///
/// A slot that nobody owns, or whose environment cannot run, goes to those that wait (`FairShare`); so a processor is only
/// idle when nothing can run. A quarter of the slots cannot be owned, so that nobody waits for ever.
struct SliceVector: Sendable {
  static let count = 64
  /// Nanoseconds of one slot.
  static let length: UInt64 = 5_000_000
  /// The most slots of one vector that are owned.
  static let ownable = 48

  private(set) var slots = [EnvironmentID?](repeating: nil, count: count)
  private var cursor = 0
  /// Nanoseconds that an environment has had beyond its slices; paid back from its next ones.
  private(set) var excess: [EnvironmentID: UInt64] = [:]

  /// Binds slots to an environment, or to nobody.
  mutating func bind(_ range: Range<Int>, to environment: EnvironmentID?) {
    for slot in range { slots[slot] = environment }
  }
  /// Takes an environment out of every slot, and its debt with it.
  mutating func remove(_ environment: EnvironmentID) {
    for slot in slots.indices where slots[slot] == environment { slots[slot] = nil }
    excess[environment] = nil
  }
  var isEmpty: Bool { slots.allSatisfy { $0 == nil } }

  /// Notes that an environment overran by so much.
  mutating func charge(_ nanoseconds: UInt64, to environment: EnvironmentID) {
    excess[environment, default: 0] += nanoseconds
  }

  /// The next slot's environment among those that can run, and how long it may. An environment in debt gets that much
  /// less, and is passed over while a whole slot does not cover it. Nil if the slot is nobody's, and somebody waits who
  /// has none, or if no owner can run: the time is free.
  mutating func next(
    othersWait: Bool, _ canRun: (EnvironmentID) -> Bool
  ) -> (environment: EnvironmentID, length: UInt64)? {
    for _ in 0..<Self.count {
      let slot = cursor
      cursor = (cursor + 1) % Self.count
      guard let owner = slots[slot], canRun(owner) else {
        if othersWait { return nil }
        continue
      }
      let debt = excess[owner] ?? 0
      guard debt < Self.length else {
        excess[owner] = debt - Self.length
        continue
      }
      excess[owner] = nil
      return (owner, Self.length - debt)
    }
    return nil
  }
}
