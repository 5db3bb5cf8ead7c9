/// Frames as runs of neighbours, in the order they were added: what pages in order of address map is few runs, however
/// many pages they are.
struct FrameRuns {
  typealias Run = (first: Frame, count: Int)
  // The run that grows is no part of the array, so that a single one takes no memory.
  private var finished: [Run] = []
  private var last: Run = (Frame(0), 0)

  var isEmpty: Bool { last.count == 0 }

  mutating func append(_ first: Frame, count: Int = 1) {
    if last.count > 0, first.number == last.first.number &+ UInt32(truncatingIfNeeded: last.count) {
      last.count += count
      return
    }
    if last.count > 0 { finished.append(last) }
    last = (first, count)
  }

  /// The runs in order of frame, neighbours and overlaps joined.
  var sorted: [Run] {
    guard !isEmpty else { return [] }
    var joined: [Run] = []
    for run in (finished + [last]).sorted(by: { $0.first < $1.first }) {
      if let before = joined.last, run.first.number <= before.first.number + UInt32(before.count) {
        let end = max(Int(before.first.number) + before.count, Int(run.first.number) + run.count)
        joined[joined.count - 1].count = end - Int(before.first.number)
      } else {
        joined.append(run)
      }
    }
    return joined
  }
}

/// What page-table entries have lost and the hardware must be made to forget. Collected over all pages of a call, so that
/// it costs one flush.
struct LoweredPages {
  var frames = FrameRuns()
  /// The first frames of huge pages among them.
  var hugePages: [Frame] = []
  /// No page lost more than its write access.
  var onlyWrites = true
}
