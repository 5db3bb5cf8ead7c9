import CKVM
import ExoABI
import Synchronization

/// One processor of the machine: a host thread that runs the vCPUs of the environments assigned to it.
///
/// Its slice vector says whose turn it is; time that no owner of a slot can use goes to the others in turn. It sleeps when
/// none can run. A slice is only timed while another environment waits for the processor.
final class Processor: Sendable {
  /// The host processor it is pinned to, if the host has one to spare for it.
  let hostProcessor: Int?
  let number: Int
  /// Held, with their own, by those that change what environments which may enter one another see.
  let latch = ExecutionLatch()
  private let queue = Mutex(Queue())
  private let parker = Parker()
  private let thread = Mutex<HostThread?>(nil)

  /// Nanoseconds that an environment without slots runs while others wait.
  static let turn: UInt64 = 10_000_000
  /// Nanoseconds that an environment which is told of the end of its slice has to put things in order.
  static let grace: UInt64 = 1_000_000

  private struct Queue {
    var runnable: [Environment] = []
    var slices = SliceVector()
    /// Who was given the rest of a slice, and how long that is.
    var donee: (environment: EnvironmentID, length: UInt64)?
    /// Of the environment in possession of the processor.
    var running: ExecutionLatch?
    var isStopping = false
    /// Environments that are being built for it.
    var expected = 0
  }

  /// Whether its thread may keep a processor of the host while it waits for one.
  let mayWaitAwake: Bool

  init(number: Int, hostProcessor: Int?, mayWaitAwake: Bool) {
    self.number = number
    self.hostProcessor = hostProcessor
    self.mayWaitAwake = mayWaitAwake
  }

  /// Starts the thread. The machine must stay alive until `stop` has returned.
  func start(_ hardware: Hardware) throws(HostError) {
    let started = try HostThread(name: "exo-cpu-\(number)") { [self] in
      if let hostProcessor { _ = ckvm_pin_thread(CInt(hostProcessor)) }
      Trace.enterLane(Trace.lane(ofProcessor: number))
      let loop = ProcessorLoop(processor: self, hardware: hardware)
      loop.run()
    }
    thread.withLock { $0 = started }
  }

  /// Ends the thread once it has finished its environments, which must all have been asked to end.
  func stop() {
    queue.withLock { $0.isStopping = true }
    parker.notify()
    thread.withLock { $0 }?.join()
  }

  // --- the slice vector

  /// Binds slots to an environment of this processor, or to nobody.
  func bindSlices(_ slots: Range<Int>, to environment: EnvironmentID?) {
    queue.withLock { $0.slices.bind(slots, to: environment) }
  }

  /// The vector as it is now.
  var slices: SliceVector { queue.withLock { $0.slices } }

  // --- the run queue

  func enqueue(_ environment: Environment) {
    let running = queue.withLock { queue in
      queue.runnable.append(environment)
      // Whoever runs with nobody waiting runs untimed, and may never leave guest mode by itself.
      return queue.runnable.count == 1 ? queue.running : nil
    }
    parker.notify()
    running?.kick()
  }
  /// Announces an environment that will be enqueued very soon. To be taken back, once, by `expectNoMore`.
  func expect() {
    queue.withLock { $0.expected += 1 }
    parker.notify()
  }
  func expectNoMore() { queue.withLock { $0.expected -= 1 } }
  var isExpecting: Bool { queue.withLock { $0.expected > 0 } }

  /// Gives the processor to an environment, or to none.
  func run(_ latch: ExecutionLatch?) { queue.withLock { $0.running = latch } }

  /// The next environment to run, and for how long if others wait; nil to sleep, or, when stopping, to end.
  func next() -> (environment: Environment, length: UInt64)? {
    queue.withLock { queue in
      func take(_ id: EnvironmentID, _ length: UInt64) -> (Environment, UInt64)? {
        guard let index = queue.runnable.firstIndex(where: { $0.id == id }) else { return nil }
        return (queue.runnable.remove(at: index), length)
      }
      if let donee = queue.donee {
        queue.donee = nil
        if let taken = take(donee.environment, donee.length) { return taken }
      }
      guard !queue.runnable.isEmpty else { return nil }
      if !queue.slices.isEmpty {
        let able = Set(queue.runnable.map(\.id))
        let owners = Set(queue.slices.slots.compactMap { $0 })
        let without = queue.runnable.firstIndex { !owners.contains($0.id) }
        if let (owner, length) = queue.slices.next(othersWait: without != nil, { able.contains($0) }) {
          return take(owner, length)
        }
        if let without { return (queue.runnable.remove(at: without), SliceVector.length) }
      }
      return (queue.runnable.removeFirst(), Self.turn)
    }
  }

  /// Gives the rest of a slice to an environment of this processor: it runs next if it can.
  func donate(_ length: UInt64, to environment: EnvironmentID) {
    queue.withLock { $0.donee = (environment, length) }
  }

  /// Notes that an environment ran beyond its slice.
  func charge(_ nanoseconds: UInt64, to environment: EnvironmentID) {
    queue.withLock { $0.slices.charge(nanoseconds, to: environment) }
  }
  func forget(_ environment: EnvironmentID) {
    queue.withLock { $0.slices.remove(environment) }
  }
  var hasOthers: Bool { queue.withLock { !$0.runnable.isEmpty } }
  var isStopping: Bool { queue.withLock { $0.isStopping } }
  var ticket: UInt32 { parker.ticket }
  func sleep(_ ticket: UInt32) { parker.wait(ticket) }
}
