/// Whose turn it is in the time of a processor that no slot's owner has: whoever has had least of it, counted in virtual time
/// (start-time fair queueing: Goyal, Guo and Vin, SIGCOMM 1996).
///
/// What an environment has had only grows, and one that comes back from sleep counts from what the others have reached, so sleeping
/// saves nothing up. One that has woken and has had no more than the others on average comes before them, and need not wait for
/// the end of a turn (the average as in Stoica and others, A Proportional Share Resource Allocation Algorithm, RTSS 1996): so
/// whoever sleeps for most of the time, as those do that answer packets, runs soon after it wakes however many compute.
struct FairShare: Sendable {
  /// Nanoseconds that the running one has at least before it makes room for one that wakes: switches are not to be had for nothing.
  static let least: UInt64 = 100_000

  /// What the one that has had least had when a turn began last.
  private var clock: UInt64 = 0
  /// Nanoseconds that each has had.
  private var had: [EnvironmentID: UInt64] = [:]
  /// Those that have woken and not run since.
  private var woken: Set<EnvironmentID> = []

  func had(by id: EnvironmentID) -> UInt64 { max(had[id] ?? 0, clock) }

  /// One wants to run.
  /// - Parameter wakes: whether it did not before.
  mutating func join(_ id: EnvironmentID, wakes: Bool) {
    had[id] = had(by: id)
    if wakes { woken.insert(id) }
  }
  mutating func forget(_ id: EnvironmentID) {
    had[id] = nil
    woken.remove(id)
  }

  /// Which of those that wait has its turn from now on: of equals the first.
  mutating func next(among waiting: some Sequence<EnvironmentID>) -> EnvironmentID? {
    var least: (id: EnvironmentID, had: UInt64)?
    var first: (id: EnvironmentID, had: UInt64)?
    var (sum, count) = (0 as UInt64, 0 as UInt64)
    for id in waiting {
      let had = had(by: id)
      sum &+= had &- clock
      count += 1
      if least.map({ had < $0.had }) ?? true { least = (id, had) }
      if woken.contains(id), first.map({ had < $0.had }) ?? true { first = (id, had) }
    }
    guard let least else { return nil }
    var chosen = least.id
    if let first, (first.had &- clock) &* count <= sum { chosen = first.id }
    clock = least.had
    woken.remove(chosen)
    return chosen
  }

  /// Has one pay for time that it, or whoever it gave it to, has had. Of one that has been forgotten nothing is kept.
  mutating func charge(_ nanoseconds: UInt64, to id: EnvironmentID) {
    if had[id] != nil { had[id] = had(by: id) &+ nanoseconds }
  }

  /// One gives way to all that wait.
  mutating func yield(_ id: EnvironmentID, to waiting: some Sequence<EnvironmentID>) {
    had[id] = waiting.reduce(had(by: id)) { max($0, had(by: $1)) }
  }

  /// How long the one whose turn it is may run, from its turn's beginning, if another wakes: until the other has had no more than
  /// the rest on average.
  /// - Parameter waiting: those that waited before.
  func turn(
    of running: EnvironmentID, beside woken: EnvironmentID, among waiting: some Sequence<EnvironmentID>
  ) -> UInt64 {
    var (sum, count) = (had(by: running) &- clock, 1 as UInt64)
    for id in waiting {
      sum &+= had(by: id) &- clock
      count += 1
    }
    let ahead = (had(by: woken) &- clock) &* count
    return max(Self.least, ahead > sum ? ahead - sum : 0)
  }
}
