/// Every state that a small model can reach, by every interleaving of its steps.
struct Explorer<State: Hashable> {
  private(set) var reached: Set<State> = []
  /// States from which no further step leads to a final one: a hang.
  private(set) var stuck: [State] = []

  /// - Parameters:
  ///   - steps: the states one step away, whoever takes it.
  ///   - isFinal: whether all that was to happen has happened.
  init(from start: State, steps: (State) -> [State], isFinal: (State) -> Bool) {
    var before: [State: [State]] = [:]
    var frontier = [start]
    reached = [start]
    while let state = frontier.popLast() {
      for next in steps(state) {
        before[next, default: []].append(state)
        if reached.insert(next).inserted { frontier.append(next) }
      }
    }
    frontier = reached.filter(isFinal)
    var hopeful = Set(frontier)
    while let state = frontier.popLast() {
      for earlier in before[state] ?? [] where hopeful.insert(earlier).inserted { frontier.append(earlier) }
    }
    stuck = reached.filter { !hopeful.contains($0) }
  }
}
