import LibOS

/// Earliest deadline first (Liu and Layland 1973): every task has a job to do in each of its periods, and the job whose period
/// ends soonest runs.
public struct DeadlineQueue: Sendable {
  public struct Task: Sendable {
    public let period: UInt64
    /// When its current job was let go, by the clock; it is due a period later.
    public internal(set) var released: UInt64
    public internal(set) var isDone = true
    public internal(set) var jobs = 0
    public internal(set) var missed = 0
    public var deadline: UInt64 { released &+ period }
  }
  public private(set) var tasks: [Task] = []

  public init() {}

  /// Adds a task whose first job is let go at a time; its number.
  public mutating func add(period: UInt64, from start: UInt64) -> Int {
    tasks.append(Task(period: max(1, period), released: start &- max(1, period)))
    return tasks.count - 1
  }

  /// Lets jobs go whose time has come. A job that is not done when its period ends is counted as missed and goes on as the
  /// next one's. Returns those let go.
  public mutating func release(at now: UInt64) -> [Int] {
    var new: [Int] = []
    for index in tasks.indices {
      while tasks[index].deadline <= now {
        if !tasks[index].isDone { tasks[index].missed += 1 }
        tasks[index].released = tasks[index].deadline
        if tasks[index].isDone || new.last != index { new.append(index) }
        tasks[index].isDone = false
        tasks[index].jobs += 1
      }
    }
    return new
  }

  public mutating func finish(_ task: Int) { tasks[task].isDone = true }

  /// Whose job is due soonest; nil if all are done.
  public func next() -> Int? {
    var best: Int?
    for index in tasks.indices where !tasks[index].isDone {
      if best.map({ tasks[index].deadline < tasks[$0].deadline }) ?? true { best = index }
    }
    return best
  }

  /// When the next job is let go.
  public var nextRelease: UInt64? { tasks.map { $0.deadline }.min() }
}

#if hasFeature(Embedded)
  /// Environments that run by deadlines, in the slices of the one that calls this.
  public struct DeadlineScheduler {
    public private(set) var queue = DeadlineQueue()
    private var environments: [Environment] = []
    private var running: Int?

    public init() {}

    public mutating func add(
      _ environment: Environment, period: UInt64, from start: UInt64
    ) throws(ExocallError) -> Int {
      try environment.stop()
      environments.append(environment)
      return queue.add(period: period, from: start)
    }

    /// Gives the rest of this slice to the job due soonest, or waits for the next.
    /// - Parameters:
    ///   - begin: called as a job is let go.
    ///   - isDone: whether a task's job has been finished.
    public mutating func turn(
      begin: (Int) -> Void, isDone: (Int) -> Bool
    ) throws(ExocallError) {
      for task in queue.release(at: Clock.now) { begin(task) }
      guard let chosen = queue.next() else {
        if let release = queue.nextRelease, release > Clock.now {
          Events.setTimer(at: release)
          Events.wait()
          while Events.poll() != nil {}
        }
        return
      }
      if running != chosen {
        if let running { try environments[running].stop() }
        try environments[chosen].resume()
        running = chosen
      }
      Slices.yield(to: environments[chosen])
      if isDone(chosen) {
        queue.finish(chosen)
        try environments[chosen].stop()
        running = nil
      }
    }
  }
#endif
