import Synchronization

/// Whether the thread of a device looks again after packets came, rather than sleep at once. To wake it costs more than most packets
/// do; but whoever is to send the next one may need the processor that it watches on.
///
/// So it watches for a bounded time after each packet, and learns from it: each time that this was for nothing, twice as many
/// packets pass before it tries again.
struct DeviceWatch {
  /// How long it watches after a packet, in nanoseconds: about what a sleep and its wake-up cost together.
  static let window: UInt64 = 50_000
  /// Most packets that pass between two attempts.
  static let passLimit = 256

  /// Until when it watches; 0 while it does not.
  private var end: UInt64 = 0
  /// Packets until it tries again, and how many those were at first.
  private var left = 0
  private var pass = 0

  /// Packets were received and delivered.
  /// - Parameter mayWatch: whether there is a processor to do it on.
  mutating func packetsCame(at time: UInt64, mayWatch: Bool) {
    if end != 0 { pass = 0 }
    end = 0
    guard mayWatch else { return }
    if left > 0 {
      left -= 1
    } else {
      end = time &+ Self.window
    }
  }

  /// Nothing is there. Returns whether to look again; else it is time to sleep.
  mutating func goesOn(at time: UInt64, mayWatch: Bool) -> Bool {
    guard end != 0 else { return false }
    if mayWatch, time < end { return true }
    end = 0
    // Whoever took the processor says nothing of when packets come.
    if mayWatch {
      pass = min(max(2 * pass, 1), Self.passLimit)
      left = pass
    }
    return false
  }
}

/// Whose thread watches, among those of a device's queues: one at a time, for they would take the processor from one another.
final class WatchTurn: Sendable {
  /// The number of the queue whose thread watches; -1 while none does.
  private let holder = Atomic<Int>(-1)
  private let mayWatch: @Sendable (_ hasWoken: Bool) -> Bool

  /// - Parameter mayWatch: whether the host has a processor for a thread while it watches, if it has or has not just woken an
  ///   environment.
  init(_ mayWatch: @escaping @Sendable (_ hasWoken: Bool) -> Bool) { self.mayWatch = mayWatch }

  /// Whether the thread of a queue may watch, which then is the one that does until it gives it back.
  func take(_ queue: Int, hasWoken: Bool) -> Bool {
    guard mayWatch(hasWoken) else { return false }
    let (isFree, current) = holder.compareExchange(
      expected: -1, desired: queue, ordering: .relaxed)
    return isFree || current == queue
  }
  func giveBack(_ queue: Int) {
    _ = holder.compareExchange(expected: queue, desired: -1, ordering: .relaxed)
  }
}
