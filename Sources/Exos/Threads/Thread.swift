/// Why a thread's wait or end was not as wished.
public enum ThreadError: Error, Equatable, Sendable {
  /// Going on to wait would never end: nobody is left who could end it.
  case deadlock
  /// A lock that this thread has already, or does not have.
  case notOwner
  /// The other end of a channel is closed.
  case closed
  /// The thread ran over the end of its stack and was ended.
  case stackOverflow
  /// No memory for its stack.
  case outOfMemory
}

/// A thread of this environment: registers and a stack, of which the exokernel knows nothing.
public final class Thread {
  public enum State: Equatable, Sendable { case ready, running, blocked, sleeping, ended }

  public let number: Int
  public internal(set) var state = State.ready
  /// For `Priorities`: the higher, the sooner.
  public var priority = 0
  /// For `Strides`: its share.
  public var tickets = 1
  var pass: UInt64 = 0
  /// Where its registers are while it does not run.
  var stackPointer: UInt64 = 0
  var stack: ThreadStack?
  var body: (() -> Void)?
  var outcome: ThreadError?
  /// Those that wait for its end.
  let joiners = ThreadQueue()
  /// What it waits for, if somebody owns that.
  var waitsFor: Lock?
  /// Set when it is woken because nobody else could wake it.
  var isDeadlocked = false

  init(number: Int) { self.number = number }

  public var isEnded: Bool { state == .ended }
}

/// The addresses of a thread's stack; the page below is never mapped.
struct ThreadStack {
  var low: UInt64
  var pages: UInt64
  var top: UInt64 { low + pages << 12 }
  /// Whether an access there is an overflow.
  func guards(_ address: UInt64) -> Bool { address < low && low - address <= 4096 }
}

/// Something that one thread at a time owns.
public class Lock {
  var owner: Thread?
  init() {}

  /// Gives it to a thread, which waits for it no more, or to nobody.
  func pass(to thread: Thread?) {
    owner = thread
    // Else it would seem to wait for itself until it runs.
    thread?.waitsFor = nil
  }
}

/// The wait-for graph, which has one edge at most from each thread: the one who owns what it waits for.
enum WaitGraph {
  /// Whether waiting for a lock would close a circle.
  static func closesCircle(_ thread: Thread, waitingFor lock: Lock) -> Bool {
    var lock: Lock? = lock
    while let owner = lock?.owner {
      if owner === thread { return true }
      lock = owner.waitsFor
    }
    return false
  }
}
