import ExoABI
import ExosThreads
import GuestRuntime
import LibOS

/// The paper's stride scheduler at work: an environment that owns slices gives them to three others by tickets.
enum Strides {
  /// Tickets of the three.
  static let tickets: [UInt64] = [3, 2, 1]
  /// Slices handed over; a whole number of rounds of six would end where every share is right.
  static let turns = 46

  /// By how much the share of any of them, counted in work done, deviates from that of its tickets: the ticks are hundredths of
  /// a percent of the whole, the operations 100. The series has for each turn the microseconds so far and the three counts.
  static func error() -> Timing? {
    Board.with { (board) throws(ExocallError) in
      var slices: [Slices] = []
      var children: [Child] = []
      defer {
        for index in children.indices { children[index].end() }
        for owned in slices { try? owned.capability.drop() }
      }
      // Every slot but each fourth, which nobody may own.
      for slot: UInt64 in stride(from: 0, to: 64, by: 4) {
        let owned = try Slices.allocate(first: slot, count: 3)
        slices.append(owned)
        try owned.bind()
      }
      var scheduler = StrideScheduler()
      for number in tickets.indices {
        let child = try Child.make(
          EnvironmentQuota(frames: 64, capabilities: 64, bindings: 4), on: 0, argument: UInt64(number),
          countTurns)
        children.append(child)
        try board.give(to: child)
        try child.start()
        _ = try scheduler.add(child.environment, tickets: tickets[number])
      }
      let before = tickets.indices.map { Duo.load(8 + $0 * 8) }
      func counts() -> [UInt64] { tickets.indices.map { Duo.load(8 + $0 * 8) &- before[$0] } }
      var series: [UInt64] = []
      let begin = Clock.now
      for _ in 0..<turns {
        guard try scheduler.turn() != nil else { return nil }
        series.append((Clock.now - begin) / 1000)
        series += counts()
      }
      let done = counts()
      let (sum, all) = (done.reduce(0, +), tickets.reduce(0, +))
      guard sum > 0 else { return nil }
      var worst: UInt64 = 0
      for (count, share) in zip(done, tickets) {
        worst = max(worst, (Int64(count &* 10_000 / sum) - Int64(share * 10_000 / all)).magnitude)
      }
      var timing = Timing(worst, 100)
      timing.series = series
      return timing
    }
  }
}
