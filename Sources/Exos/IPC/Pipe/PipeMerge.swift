/// One reader of several writers: each has a pipe of its own, so that none can spoil what another writes, and what is written in
/// one piece is read in one piece. Logic without a machine.
///
/// POSIX promises as much of writes up to PIPE_BUF; here it holds for any that fits the writer's pipe.
public struct PipeMerge: ~Copyable {
  private var lanes: [Lane] = []
  /// Whose turn it is.
  private var current = 0

  private final class Lane {
    var consumer: PipeConsumer
    var isOver = false
    init(_ memory: PipeMemory) { consumer = PipeConsumer(memory) }
  }

  public init() {}

  /// Adds a writer; its number.
  public mutating func add(_ memory: PipeMemory) -> Int {
    lanes.append(Lane(memory))
    return lanes.count - 1
  }

  /// Reads from one writer what is there and fits.
  /// - Returns: how many bytes, and whose; 0 once all writers have closed or failed; nil if there is nothing yet.
  public mutating func take(into bytes: UnsafeMutableRawBufferPointer) -> (count: Int, writer: Int)? {
    guard bytes.count > 0 else { return nil }
    for _ in 0..<max(lanes.count, 1) {
      guard !lanes.isEmpty else { break }
      let lane = lanes[current]
      let writer = current
      if !lane.isOver {
        // What was seen of it at once is read before others have a turn: it ends where a write ended.
        if let count = attempt(lane, bytes), count > 0 {
          if lane.consumer.held == 0 { current = (current + 1) % lanes.count }
          return (count, writer)
        }
      }
      current = (current + 1) % lanes.count
    }
    return lanes.allSatisfy({ $0.isOver }) ? (0, current) : nil
  }

  /// A writer that breaks the protocol is done with; the others go on.
  private func attempt(_ lane: Lane, _ bytes: UnsafeMutableRawBufferPointer) -> Int? {
    do throws(PipeError) {
      let count = try lane.consumer.take(into: bytes)
      if count == 0 { lane.isOver = true }
      return count
    } catch {
      lane.isOver = true
      return nil
    }
  }

  /// Has done with a writer, as when its environment has ended; what it wrote before is lost.
  public mutating func drop(_ writer: Int) { lanes[writer].isOver = true }
  public func isOver(_ writer: Int) -> Bool { lanes[writer].isOver }

  public mutating func announceSleep() { for lane in lanes { lane.consumer.announceSleep() } }
  public mutating func endSleep() { for lane in lanes { lane.consumer.endSleep() } }
  /// Whether that writer sleeps and is to be woken.
  public mutating func mustWake(_ writer: Int) -> Bool { lanes[writer].consumer.mustWake() }
}
