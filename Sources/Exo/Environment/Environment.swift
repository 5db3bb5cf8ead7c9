import CKVM
import ExoABI
import Synchronization

/// An environment: an address space, what is bound for it, and its rings. Made by `Machine.launch` or `Machine.prepare`;
/// once started it runs until it exits, faults, is ended or runs out of its time.
public final class Environment: Sendable {
  public let id: EnvironmentID
  /// What it was called when it was made.
  public let name: String
  /// The image it was made from; nil for one that another environment filled.
  public let image: GuestImage?
  let machine: Machine
  let processor: Processor
  /// Guest-physical address of the page table's root.
  let root: PhysicalAddress
  let start: Frame
  let trap: Frame
  let transfer: TransferPage
  let latch: ExecutionLatch
  let timeLimit: Duration?
  private let limitEnds = Atomic<UInt64>(.max)

  /// The exokernel's end of the rings: held by whoever serves them now.
  let ring: Mutex<ExocallRing>
  let console: Mutex<ConsoleQueue>
  /// Where its children's output goes too.
  let consoleOutput: Console.Output
  /// The number of the newest completion, for `isSatisfied` without the ring's lock.
  let posted = Atomic<UInt32>(0)
  /// Set when a console request had to wait.
  let consolePending = Atomic<Bool>(false)

  /// Whether it made an exocall that lasts (`Readiness`). Under the ring's lock.
  let isMarked = Atomic<Bool>(false)

  /// Its event ring, its handler, and whether the processor's thread is to see to them.
  let events: Mutex<EventQueue>
  let eventBinding = Mutex<EventBinding?>(nil)
  let deliveryDue = Atomic<Bool>(false)
  let eventsPosted = Atomic<UInt64>(0)
  /// Its wakeup predicate, and whether it was found to hold while it slept.
  let predicate = Mutex<Predicate?>(nil)
  let hasPredicate = Atomic<Bool>(false)
  let predicateMet = Atomic<Bool>(false)
  /// Whether the service looks at its ring; not while it sleeps.
  let isPolled = Atomic<Bool>(true)
  /// Whether it is told who serves its ring: not once it has ended, for its start page is another's then. Changed under the lock
  /// of `ServiceThread.mode`.
  let isTold = Atomic<Bool>(true)
  /// Monotonic nanoseconds at which its timer goes off, `UInt64.max` for never.
  let timer = Atomic<UInt64>(.max)
  /// Monotonic nanoseconds at which a call of its own through a gate is given up, `UInt64.max` for never; and whether
  /// that time has passed (`Transfer`).
  let callDeadline = Atomic<UInt64>(.max)
  let callTimedOut = Atomic<Bool>(false)
  /// Monotonic nanoseconds at which what it was asked to give back is taken (`Revocation`).
  let revocationDeadline = Atomic<UInt64>(.max)
  /// Whether others are told when it sleeps and wakes.
  let hasPeers = Atomic<Bool>(false)
  /// Where SYSCALL enters it, 0 for nowhere, and whether its vCPU has yet to be told.
  private let systemCall = Atomic<UInt64>(0)
  let systemCallDue = Atomic<Bool>(false)
  var systemCallHandler: GuestAddress? {
    let address = systemCall.load(ordering: .sequentiallyConsistent)
    return address == 0 ? nil : GuestAddress(address)
  }

  /// Has SYSCALL enter this handler at ring 3, or nothing. In force when it returns.
  func bindSystemCall(_ handler: GuestAddress?) throws(Refusal) {
    try machine.withKernel { (kernel) throws(Refusal) in
      guard let domain = kernel.domains[id] else { throw .absent }
      if let handler {
        guard domain.shell.space.allows([.read, .execute], handler, count: 1, memory: kernel.memory) else {
          throw .badAddress
        }
      } else if systemCallHandler == nil {
        throw .absent
      }
      // Where SYSCALL leads is the virtual processor's affair, and that may be a visitor's.
      guard handler == nil || domain.entry == nil else { throw .busy }
      kernel.domains[id]?.hasSystemCall = handler != nil
      kernel.mechanisms.bindSystemCall(handler, in: domain.shell.tables, kernel.memory)
      systemCall.store(handler?.value ?? 0, ordering: .sequentiallyConsistent)
    }
    systemCallDue.store(true, ordering: .sequentiallyConsistent)
    latch.hold {}
  }

  /// Who made it, and is told of its end.
  let creator: WeakEnvironment
  let creatorID: EnvironmentID?

  let scheduling = Mutex(Scheduling())
  /// Set while it sleeps: whoever posts a completion looks here first.
  let isWaiting = Atomic<Bool>(false)
  /// Counts its sleeps, from 1.
  let sleepNumber = Atomic<UInt64>(0)
  private let ending = Mutex(Ending())
  let endRequested = Atomic<Bool>(false)
  let statistics = EnvironmentStatistics()
  let trace: Trace
  /// Monotonic nanoseconds at which it got the processor that it has; 0 if it has none.
  let turnBegan = Atomic<UInt64>(0)

  /// Where an environment stands with its processor.
  struct Scheduling {
    enum State { case created, runnable, waiting, stopped, ended }
    var state = State.created
    var entryPoint: EntryPoint?
    /// The completion it sleeps for.
    var awaited: UInt32 = 0
    /// Events that had been posted when it last woke or was told that it need not sleep.
    var eventsSeen: UInt64 = 0
    /// Its processor is to let go of it at the next exit.
    var stopRequested = false
  }
  private struct Ending {
    var requested: Outcome?
    var finished: Outcome?
    var waiters: [CheckedContinuation<Outcome, Never>] = []
    var watchers: [@Sendable (Outcome) -> Void] = []
  }

  init(
    id: EnvironmentID, name: String, image: GuestImage?, machine: Machine, processor: Processor,
    shell: Shell, latch: ExecutionLatch, console: Console, timeLimit: Duration?, creator: Environment? = nil
  ) {
    self.id = id
    self.name = name
    self.image = image
    self.machine = machine
    self.processor = processor
    trace = machine.trace
    self.latch = latch
    self.timeLimit = timeLimit
    root = shell.space.root.address
    start = shell.start
    trap = shell.trap
    transfer = shell.transfer
    ring = Mutex(
      unsafe ExocallRing(
        submissions: machine.memory.page(shell.submission),
        completions: machine.memory.page(shell.completion)))
    self.console = Mutex(ConsoleQueue(console))
    consoleOutput = console.output
    events = Mutex(EventQueue(page: shell.events, control: shell.trap))
    self.creator = WeakEnvironment(creator)
    creatorID = creator?.id
    if trace.wants(.environment) { trace.record(.created(by: creatorID), of: id) }
  }

  /// Waits until the environment has ended and its frames are back with the machine.
  public func outcome() async -> Outcome {
    await withCheckedContinuation { continuation in
      let finished: Outcome? = ending.withLock {
        if $0.finished == nil { $0.waiters.append(continuation) }
        return $0.finished
      }
      if let finished { continuation.resume(returning: finished) }
    }
  }

  /// The same for a program without tasks: blocks the calling thread.
  public func waitForOutcome() -> Outcome {
    let parker = Parker()
    if let finished = whenEnded({ _ in parker.notify() }) { return finished }
    while true {
      let ticket = parker.ticket
      if let finished = ending.withLock({ $0.finished }) { return finished }
      parker.wait(ticket)
    }
  }

  /// Whether it has no virtual processor of its own yet.
  var isUnstarted: Bool { scheduling.withLock { $0.state == .created } }

  /// Whether it has ended and its frames are back with the machine.
  var hasEnded: Bool { ending.withLock { $0.finished != nil } }

  /// Calls `body`, once, when the environment ends; if it has, returns how instead: a caller that holds a lock which
  /// `body` takes must not be called back at once.
  func whenEnded(_ body: @escaping @Sendable (Outcome) -> Void) -> Outcome? {
    ending.withLock {
      if $0.finished == nil { $0.watchers.append(body) }
      return $0.finished
    }
  }

  /// Ends the environment; no effect if it has ended.
  public func kill() { requestEnd(.killed(status: 137)) }

  /// The first reason counts. Whoever runs it takes it out of guest mode and finishes it.
  /// - Parameter isFinishedNext: this is the thread that does, and it does so next.
  func requestEnd(_ outcome: Outcome, isFinishedNext: Bool = false) {
    let first = ending.withLock {
      guard $0.requested == nil else { return false }
      $0.requested = outcome
      return true
    }
    guard first else { return }
    endRequested.store(true, ordering: .sequentiallyConsistent)
    if isFinishedNext { return }
    latch.kick()
    processor.wake(self)
    // Which kicks again until it has ended.
    machine.service.notify()
  }

  /// Called once by the processor's thread, after the environment's bindings are broken.
  func finish() {
    scheduling.withLock { $0.state = .ended }
    let (outcome, waiters, watchers) = ending.withLock { state in
      let outcome = state.requested ?? .killed(status: 137)
      state.finished = outcome
      defer { (state.waiters, state.watchers) = ([], []) }
      return (outcome, state.waiters, state.watchers)
    }
    noteEnd(outcome)
    creator.value?.post(Event(kind: .childEnded, data: id.number))
    for watcher in watchers { watcher(outcome) }
    for waiter in waiters { waiter.resume(returning: outcome) }
  }

  /// Monotonic nanoseconds at which the time limit runs out, `UInt64.max` for none or while it has not begun.
  var deadline: UInt64 { limitEnds.load(ordering: .relaxed) }

  /// Starts the clock of its time limit.
  func beginTimeLimit() {
    guard let timeLimit else { return }
    limitEnds.store(ckvm_monotonic() &+ timeLimit.nanoseconds, ordering: .relaxed)
  }

  /// What is left of its time, which its children share.
  var remainingTime: Duration? {
    guard deadline != .max else { return nil }
    let now = ckvm_monotonic()
    return .nanoseconds(deadline > now ? Int64(clamping: deadline - now) : 0)
  }

  // --- the line that tells the environment who serves its ring

  func setService(_ mode: Int32) {
    machine.memory.store32(
      UInt32(mode), PhysicalAddress(start.address.value + UInt64(EXO_STATUS_OFFSET)))
  }

  /// Tells it how many requests were served before it begins.
  func setRingServed(_ count: UInt64) {
    guard let offset = MemoryLayout<exo_start>.offset(of: \.ring_served) else { return }
    machine.memory.store(count, PhysicalAddress(start.address.value + UInt64(offset)))
  }

  /// Tells it whether others wait for the processor that it has. Only while it is sure to be there: under its processor's lock, until
  /// that forgets it.
  func setOthersWait(_ wait: Bool) {
    machine.memory.store32(
      wait ? 1 : 0, PhysicalAddress(start.address.value + UInt64(EXO_STATUS_OFFSET) + 4))
  }

  /// Whether the completion with this number has been posted; wraps.
  func isPosted(_ number: UInt32) -> Bool {
    Int32(bitPattern: posted.load(ordering: .sequentiallyConsistent) &- number) >= 0
  }
}

/// An environment that may have gone.
final class WeakEnvironment: Sendable {
  private let environment: Mutex<Reference>
  private struct Reference { weak var value: Environment? }
  init(_ environment: Environment?) { self.environment = Mutex(Reference(value: environment)) }
  var value: Environment? { environment.withLock { $0.value } }
}

/// Where an environment begins.
struct EntryPoint: Hashable, Sendable {
  var entry: GuestAddress
  var stack: GuestAddress
  /// Arrives in RSI; RDI holds the address of the start page.
  var argument: UInt64 = 0
  /// Arrives in RAX: what a transfer would leave there.
  var badge: UInt64 = 0

  /// Address 0 is never mapped: whoever starts there faults at once.
  static let nowhere = EntryPoint(entry: GuestAddress(0), stack: GuestAddress(0))
}

extension Duration {
  /// Whole nanoseconds, clamped to what 64 bits hold; 0 if negative.
  var nanoseconds: UInt64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max / 2 : whole &+ UInt64(attoseconds / 1_000_000_000)
  }
}
