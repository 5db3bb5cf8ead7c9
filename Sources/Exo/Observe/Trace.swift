import CKVM
import Synchronization

/// Where a machine's threads say what happens, while anybody wants to know. While nobody does, each place that could
/// say something costs a load, a test and a branch that is never taken.
final class Trace: Sendable {
  /// One bit for each category that somebody wants.
  private let wanted = Atomic<UInt32>(0)
  /// The first is for threads that are not the machine's own; those take turns.
  private let lanes: [TraceLane]
  private let others = Mutex<Void>(())
  private let readers = Mutex(Readers())

  private struct Readers {
    var next = 0
    var wanted: [Int: Set<TraceEvent.Category>] = [:]
  }

  init(processors: Int) { lanes = (0..<processors + 2).map { _ in TraceLane() } }

  /// Number of the lane of the thread that serves rings, and of a processor's thread.
  static let serviceLane = 1
  static func lane(ofProcessor number: Int) -> Int { 2 + number }
  /// Says which lane the calling thread's records go to; without it, to the first.
  static func enterLane(_ lane: Int) { ckvm_set_lane(CInt(lane)) }

  /// Whether records of this category are wanted. To be asked before anything is done for one.
  @inline(__always) func wants(_ category: TraceEvent.Category) -> Bool {
    wanted.load(ordering: .acquiring) & 1 << UInt32(category.rawValue) != 0
  }

  /// Adds a record.
  /// - Parameters:
  ///   - began: monotonic nanoseconds at which it began; now if nil.
  @inline(never) func record(_ event: TraceEvent, of environment: EnvironmentID, since began: UInt64? = nil) {
    let now = ckvm_monotonic()
    let time = began ?? now
    let words = TraceWords(event, of: environment, at: time, duration: now &- time)
    let lane = Int(ckvm_lane())
    if lane > 0, lane < lanes.count {
      lanes[lane].write(words)
    } else {
      others.withLock { _ in lanes[0].write(words) }
    }
  }

  // --- reading

  fileprivate func open(_ categories: Set<TraceEvent.Category>) -> (id: Int, cursors: [UInt64]) {
    readers.withLock { readers in
      for lane in lanes { lane.prepare() }
      readers.next += 1
      readers.wanted[readers.next] = categories
      publish(readers)
      return (readers.next, lanes.map(\.newest))
    }
  }
  fileprivate func close(_ id: Int) {
    readers.withLock { readers in
      readers.wanted[id] = nil
      publish(readers)
    }
  }
  private func publish(_ readers: Readers) {
    let all = readers.wanted.values.reduce(into: Set()) { $0.formUnion($1) }
    wanted.store(all.reduce(0) { $0 | 1 << UInt32($1.rawValue) }, ordering: .sequentiallyConsistent)
  }

  fileprivate func read(
    _ cursors: inout [UInt64], _ lost: inout UInt64, limit: Int, _ body: (TraceRecord) -> Void
  ) {
    for index in lanes.indices {
      // What comes while this reads waits for the next time, so that one busy lane does not keep it here.
      let end = lanes[index].newest
      var left = limit
      while cursors[index] < end, left > 0 {
        left -= 1
        guard let words = lanes[index].read(after: &cursors[index], lost: &lost),
          let record = TraceRecord(words, lane: index)
        else { continue }
        body(record)
      }
    }
  }
}

/// What happens in a machine from now on, until this is let go. Made by `Machine.trace`; for one thread.
public final class TraceReader {
  private let trace: Trace
  private let categories: Set<TraceEvent.Category>
  private let id: Int
  private var cursors: [UInt64]
  /// Records that were overwritten before they were read: a lane keeps the newest 16,384.
  public private(set) var lost: UInt64 = 0

  init(_ trace: Trace, _ categories: Set<TraceEvent.Category>) {
    self.trace = trace
    self.categories = categories
    (id, cursors) = trace.open(categories)
  }
  deinit { trace.close(id) }

  /// What has happened since the last call, by time of recording within each lane; at most `limit` records of a lane.
  public func read(limit: Int = 4096) -> [TraceRecord] {
    var records: [TraceRecord] = []
    trace.read(&cursors, &lost, limit: limit) { record in
      // Others may want more than this one.
      if categories.contains(record.event.category) { records.append(record) }
    }
    return records
  }
}

extension Machine {
  /// Begins to record what happens. Each of the machine's threads keeps its newest 16,384 records, about 1 MiB.
  public func trace(_ categories: Set<TraceEvent.Category> = Set(TraceEvent.Category.allCases)) -> TraceReader
  {
    TraceReader(trace, categories)
  }

  /// What the lanes of trace records are called: threads of other makers, then the machine's own.
  public var traceLanes: [String] {
    ["other threads", "service"] + processors.map { "processor \($0.number)" }
  }
}
