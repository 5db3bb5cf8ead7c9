import CKVM
import ExoABI
import Synchronization

/// One processor of the machine: a host thread that runs the vCPUs of the environments assigned to it.
///
/// Its slice vector says whose turn it is; time that no owner of a slot can use goes to the others, by `FairShare`. It sleeps
/// when none can run. A slice is only timed while another environment waits for the processor.
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
    var share = FairShare()
    /// Who was given the rest of a slice, how long that is, and whose share it comes out of.
    var donee: (environment: EnvironmentID, length: UInt64, payer: EnvironmentID?)?
    /// Of the environment in possession of the processor.
    var running: Environment?
    /// Out of whose share it runs, nobody's if in a slot that is owned, and since when.
    var payer: EnvironmentID?
    var began: UInt64 = 0
    var isStopping = false
    /// Environments that are being built for it.
    var expected = 0
  }

  /// Environments that may be entered although they have not run here, by their root tables. Whoever has this lock waits for nothing.
  private let readied = Mutex<[UInt64: Environment]>([:])

  /// Whether its thread may keep a processor of the host while it waits for one.
  let mayWaitAwake: Bool
  /// When the turn of the environment in possession ends for one that has woken, by `ckvm_monotonic`; 0 while there is none.
  private let turnEnds = Atomic<UInt64>(0)

  /// The timer of the thread, negative if it has none.
  let timer = Atomic<Int32>(-1)
  /// Whether it was set for whoever has the processor to be interrupted, and nobody has seen to it.
  private let isKickDelayed = Atomic<Bool>(false)
  /// For how long, in nanoseconds.
  private static let kickDelay: UInt64 = 50_000

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

  /// How an environment comes to wait for the processor.
  enum Arrival {
    /// It did not want it until now.
    case wakes
    /// The same, and it is new. Who starts one often goes to sleep next, so that whoever has the processor is left alone for a
    /// moment: to interrupt it takes longer.
    case begins
    /// Its turn is over.
    case goesOn
    /// It comes after all that wait now.
    case yields
  }

  func enqueue(_ environment: Environment, _ arrival: Arrival = .wakes) {
    let running = queue.withLock { queue -> Environment? in
      if arrival == .yields { queue.share.yield(environment.id, to: queue.runnable.lazy.map(\.id)) }
      let wakes = arrival == .wakes || arrival == .begins
      queue.share.join(environment.id, wakes: wakes)
      let isCutShort = wakes && cutShort(&queue, for: environment.id)
      queue.runnable.append(environment)
      if queue.runnable.count == 1 { queue.running?.setOthersWait(true) }
      // Whoever runs with nobody waiting runs untimed, and may never leave guest mode by itself.
      guard queue.runnable.count == 1 || isCutShort, let running = queue.running else { return nil }
      return arrival == .begins && delayKick() ? nil : running
    }
    parker.notify()
    running?.latch.kick()
  }

  /// Has the turn that is running end early, for one that has woken and is to come first. Not where slots are owned: a slot is
  /// one turn, and what is cut off would be the owners'.
  private func cutShort(_ queue: inout Queue, for woken: EnvironmentID) -> Bool {
    guard let payer = queue.payer, queue.running != nil, queue.slices.isEmpty else { return false }
    let turn = queue.share.turn(of: payer, beside: woken, among: queue.runnable.lazy.map(\.id))
    let end = queue.began &+ turn
    let before = turnEnds.load(ordering: .relaxed)
    guard turn < Self.turn, before == 0 || end < before else { return false }
    turnEnds.store(end, ordering: .relaxed)
    return true
  }
  /// See `turnEnds`.
  var turnEnd: UInt64? {
    let end = turnEnds.load(ordering: .relaxed)
    return end == 0 ? nil : end
  }

  /// Has whoever runs leave guest mode in a moment, if it has not by then. False if it cannot be arranged. Under the queue's lock, as is
  /// the end of whoever runs.
  private func delayKick() -> Bool {
    isKickDelayed.store(true, ordering: .relaxed)
    guard ckvm_timer_set(timer.load(ordering: .relaxed), Self.kickDelay) < 0 else { return true }
    isKickDelayed.store(false, ordering: .relaxed)
    return false
  }
  /// Whether it was delayed: the thread sees to its timer.
  func takeDelayedKick() -> Bool {
    isKickDelayed.load(ordering: .relaxed) && isKickDelayed.exchange(false, ordering: .relaxed)
  }

  /// Announces an environment that will be enqueued very soon. To be taken back, once, by `expectNoMore`.
  func expect() {
    queue.withLock { $0.expected += 1 }
    parker.notify()
  }
  func expectNoMore() { queue.withLock { $0.expected -= 1 } }
  var isExpecting: Bool { queue.withLock { $0.expected > 0 } }

  /// Whoever had it has given it up: its share pays.
  func end(at time: UInt64) {
    queue.withLock { queue in
      // Before anybody has it: a timer that goes on would interrupt the next one.
      if takeDelayedKick() { _ = ckvm_timer_set(timer.load(ordering: .relaxed), 0) }
      queue.running = nil
      if let payer = queue.payer { queue.share.charge(time &- queue.began, to: payer) }
    }
  }

  /// The next environment to run, which has the processor from now on, and for how long if others wait; nil to sleep, or, when
  /// stopping, to end.
  func next() -> (environment: Environment, length: UInt64)? {
    queue.withLock { queue in
      func give(
        to id: EnvironmentID, _ length: UInt64, paidBy payer: EnvironmentID?
      ) -> (Environment, UInt64)? {
        guard let index = queue.runnable.firstIndex(where: { $0.id == id }) else { return nil }
        let environment = queue.runnable.remove(at: index)
        environment.setOthersWait(!queue.runnable.isEmpty)
        queue.running = environment
        queue.payer = payer
        queue.began = ckvm_monotonic()
        turnEnds.store(0, ordering: .relaxed)
        return (environment, length)
      }
      func giveByShare(_ id: EnvironmentID?, _ length: UInt64) -> (Environment, UInt64)? {
        id.flatMap { give(to: $0, length, paidBy: $0) }
      }
      if let donee = queue.donee {
        queue.donee = nil
        if let given = give(to: donee.environment, donee.length, paidBy: donee.payer) { return given }
      }
      guard !queue.runnable.isEmpty else { return nil }
      if !queue.slices.isEmpty {
        let able = Set(queue.runnable.map(\.id))
        let owners = Set(queue.slices.slots.compactMap { $0 })
        let without = queue.runnable.map(\.id).filter { !owners.contains($0) }
        if let (owner, length) = queue.slices.next(othersWait: !without.isEmpty, { able.contains($0) }) {
          return give(to: owner, length, paidBy: nil)
        }
        if let given = giveByShare(queue.share.next(among: without), SliceVector.length) { return given }
      }
      return giveByShare(queue.share.next(among: queue.runnable.lazy.map(\.id)), Self.turn)
    }
  }

  /// Gives the rest of a slice to an environment of this processor: it runs next if it can.
  func donate(_ length: UInt64, to environment: EnvironmentID) {
    queue.withLock { $0.donee = (environment, length, $0.payer) }
  }

  /// Notes that an environment ran beyond its slice.
  func charge(_ nanoseconds: UInt64, to environment: EnvironmentID) {
    queue.withLock { $0.slices.charge(nanoseconds, to: environment) }
  }
  /// Before anybody can enter it.
  func noteReady(_ environment: Environment) {
    readied.withLock { $0[environment.root.value] = environment }
  }
  func readied(at root: UInt64) -> Environment? { readied.withLock { $0[root] } }

  func forget(_ environment: Environment) {
    readied.withLock { $0[environment.root.value] = nil }
    let environment = environment.id
    queue.withLock {
      $0.slices.remove(environment)
      $0.share.forget(environment)
      if $0.payer == environment { $0.payer = nil }
      // Its start page is about to be somebody else's.
      if $0.running?.id == environment { $0.running = nil }
    }
  }
  var hasOthers: Bool { queue.withLock { !$0.runnable.isEmpty } }
  var isStopping: Bool { queue.withLock { $0.isStopping } }
  var ticket: UInt32 { parker.ticket }
  func sleep(_ ticket: UInt32) { parker.wait(ticket) }
  /// Whether its thread sleeps, and nobody has called it.
  var isAsleep: Bool { parker.isAsleep }
}
