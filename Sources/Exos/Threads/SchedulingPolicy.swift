/// Which thread runs next. A program puts its own in place of these by overriding two functions; what it answers is checked,
/// so that a policy that answers nonsense costs fairness, not correctness.
open class SchedulingPolicy {
  public init() {}
  /// A thread can run: it is new, was woken, or had its turn.
  open func add(_ thread: Thread) { fatalError("a policy adds threads") }
  /// Takes out the thread to run next; nil if there is none.
  open func next() -> Thread? { nil }
}

/// Each in turn.
public final class RoundRobin: SchedulingPolicy {
  private let queue = ThreadQueue()
  public override func add(_ thread: Thread) { queue.append(thread) }
  public override func next() -> Thread? { queue.popFirst() }
}

/// The one of highest priority; those of equal priority in turn.
public final class Priorities: SchedulingPolicy {
  private var waiting: [Thread] = []
  public override func add(_ thread: Thread) { waiting.append(thread) }
  public override func next() -> Thread? {
    guard var best = waiting.indices.first else { return nil }
    for index in waiting.indices where waiting[index].priority > waiting[best].priority { best = index }
    return waiting.remove(at: best)
  }
}

/// In proportion to tickets (Waldspurger and Weihl, Stride Scheduling, MIT/LCS/TM-528, 1995): each turn moves a thread's
/// pass on by its stride, and the lowest pass runs.
public final class Strides: SchedulingPolicy {
  private var waiting: [Thread] = []
  private var now: UInt64 = 0
  private static var unit: UInt64 { 1 << 20 }

  public override func add(_ thread: Thread) {
    // One that slept has no claim to the time it missed.
    thread.pass = max(thread.pass, now)
    waiting.append(thread)
  }
  public override func next() -> Thread? {
    guard var best = waiting.indices.first else { return nil }
    for index in waiting.indices where waiting[index].pass < waiting[best].pass { best = index }
    let thread = waiting.remove(at: best)
    now = thread.pass
    thread.pass += Self.unit / UInt64(max(1, thread.tickets))
    return thread
  }
}

/// Threads in the order they came.
final class ThreadQueue {
  private var threads: [Thread] = []
  private var start = 0

  var isEmpty: Bool { start == threads.count }

  func append(_ thread: Thread) {
    if start > 32, start > threads.count / 2 {
      threads.removeFirst(start)
      start = 0
    }
    threads.append(thread)
  }
  func popFirst() -> Thread? {
    guard start < threads.count else { return nil }
    defer { start += 1 }
    return threads[start]
  }
  /// Takes one out, wherever it is.
  func remove(_ thread: Thread) {
    for index in start..<threads.count where threads[index] === thread {
      threads.remove(at: index)
      return
    }
  }
}

/// Threads that sleep, by the time they wake at.
struct SleepQueue {
  private var sleepers: [(time: UInt64, thread: Thread)] = []

  var first: UInt64? { sleepers.last?.time }
  var isEmpty: Bool { sleepers.isEmpty }

  mutating func insert(_ thread: Thread, until time: UInt64) {
    // The earliest last, and among equals the first that came.
    var (low, high) = (0, sleepers.count)
    while low < high {
      let middle = (low + high) / 2
      if sleepers[middle].time > time { low = middle + 1 } else { high = middle }
    }
    sleepers.insert((time, thread), at: low)
  }
  mutating func popDue(at now: UInt64) -> Thread? {
    guard let last = sleepers.last, last.time <= now else { return nil }
    return sleepers.removeLast().thread
  }
}
