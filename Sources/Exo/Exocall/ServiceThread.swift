import CKVM
import ExoABI
import Glibc
import Synchronization

/// The thread that serves rings so that environments need not leave guest mode for an exocall. It polls while there
/// is work and sleeps when there has been none for a while; each environment's status line says which, so that a
/// sleeping service is woken by the doorbell. It also waits for consoles and watches time limits.
final class ServiceThread: Sendable {
  /// Whether rings are polled: with no processor of the host to spare, environments are served at their exits.
  let polls: Bool
  private let served = Mutex(Served())
  private let version = Atomic<UInt64>(0)
  /// Environments that have woken and whose rings are to be polled again.
  private let woken = Mutex<[Environment]>([])
  private let hasWoken = Atomic<Bool>(false)
  private let answers = Mutex<[(Environment, Completion)]>([])
  private let hasAnswers = Atomic<Bool>(false)
  /// What the status lines of all environments that do not sleep say. Held while they are written, so that none is
  /// told an old mode after a new one.
  private let mode: Mutex<Int32>
  /// Set before it works out how long it may sleep.
  private let isAsleep = Atomic<Bool>(false)
  private let doorbell: Descriptor
  private let control: Descriptor
  private let thread = Mutex<HostThread?>(nil)
  /// Whether a call that was served may have woken somebody who wants this thread's processor.
  private let givesWay = Atomic<Bool>(false)
  /// Something to be done once, later, and when: monotonic nanoseconds, `UInt64.max` for nothing.
  private let errand = Mutex<(@Sendable () -> Void)?>(nil)
  private let errandDue = Atomic<UInt64>(.max)

  /// What has changed since the thread looked last. It keeps the list itself: shared, it would be copied for each that ends.
  private struct Served {
    var added: [Environment] = []
    var removed: Set<EnvironmentID> = []
    var isStopping = false
  }

  /// How long it polls after the last work: some times what a sleep and its wake-up cost together, for an environment that
  /// touches a hundred pages between two calls takes longer than that.
  static let idleWindow: UInt64 = 500_000
  /// How many nanoseconds pass, for each environment, between two looks at the clocks of all.
  static let clockShare: UInt64 = 500
  /// How many nanoseconds pass between two looks at the consoles of all, as a multiple of what the last took: each is a call of
  /// the host, and rings wait meanwhile.
  static let consoleShare: UInt64 = 20
  /// How long it sleeps at most while somebody sleeps until a condition holds.
  static let predicateInterval: UInt64 = 500_000
  /// How long it waits for an environment that was asked to end before it asks again.
  static let patience: UInt64 = 1_000_000

  init(polls: Bool) throws(HostError) {
    self.polls = polls
    mode = Mutex(polls ? EXO_SERVICE_POLLED : EXO_SERVICE_EXIT)
    doorbell = Descriptor(try check("eventfd", ckvm_eventfd()))
    control = Descriptor(try check("eventfd", ckvm_eventfd()))
  }

  /// A machine this young has no doorbell yet. Binding one makes KVM replace its device bus and free the old one a
  /// grace period later, which a machine that ends sooner has to wait for (13 to 17 ms). Until then environments that
  /// find the service asleep are served at an exit.
  static let doorbellDelay: UInt64 = 50_000_000

  func start(_ hardware: Hardware, hostProcessor: Int?) throws(HostError) {
    let started = try HostThread(name: "exo-service") { [self] in
      if let hostProcessor { _ = ckvm_pin_thread(CInt(hostProcessor)) }
      Trace.enterLane(Trace.serviceLane)
      run(hardware)
    }
    thread.withLock { $0 = started }
  }
  func stop() {
    served.withLock { $0.isStopping = true }
    notify()
    thread.withLock { $0 }?.join()
  }

  /// Has an environment served. Followed by `notify` once it has been started: to wake this thread first would keep whoever
  /// starts it, and perhaps the processor.
  func add(_ environment: Environment) {
    refresh(environment)
    served.withLock { $0.added.append(environment) }
    version.add(1, ordering: .releasing)
  }

  /// Tells an environment who serves its ring now. Called before it enters guest mode for the first time, or after it
  /// slept: sleeping ones are passed over when the mode changes.
  func refresh(_ environment: Environment) {
    mode.withLock { environment.setService($0) }
  }
  /// Serves it no more. Nothing is written to its start page once this has returned.
  func remove(_ environment: Environment) {
    mode.withLock { _ in environment.isTold.store(false, ordering: .relaxed) }
    _ = served.withLock { $0.removed.insert(environment.id) }
    version.add(1, ordering: .releasing)
  }
  /// Tells it that a time or a condition was set which it may not have reckoned with before it went to sleep.
  func lookAtClocks() {
    if isAsleep.load(ordering: .sequentiallyConsistent) { _ = ckvm_eventfd_signal(control.number) }
  }
  /// Makes it look at everything again.
  func notify() {
    version.add(1, ordering: .releasing)
    _ = ckvm_eventfd_signal(control.number)
  }

  /// Has this thread do something short, once, at a time or soon after. There is room for one such thing.
  func schedule(at time: UInt64, _ body: @escaping @Sendable () -> Void) {
    errand.withLock { $0 = body }
    errandDue.store(time, ordering: .releasing)
    notify()
  }
  private func runErrand(at time: UInt64) {
    guard time >= errandDue.load(ordering: .acquiring) else { return }
    errandDue.store(.max, ordering: .relaxed)
    let body = errand.withLock { errand in
      defer { errand = nil }
      return errand
    }
    body?()
  }

  /// Has this thread let others have its processor once it has answered. A packet that goes out wakes its receiver, which the host
  /// puts where the packet was sent from, and lets wait there for one that polls.
  func giveWay() { givesWay.store(true, ordering: .relaxed) }

  /// Has the answer to an environment's request given on this thread: whoever found it may hold that environment's ring.
  func answerLater(_ environment: Environment, _ completion: Completion) {
    answers.withLock { $0.append((environment, completion)) }
    hasAnswers.store(true, ordering: .releasing)
    notify()
  }
  private func sendAnswers() {
    guard hasAnswers.load(ordering: .acquiring) else { return }
    hasAnswers.store(false, ordering: .releasing)
    let ready = answers.withLock { answers in
      defer { answers = [] }
      return answers
    }
    for (environment, completion) in ready { environment.postLater(completion) }
  }

  // --- the loop

  private func run(_ hardware: Hardware) {
    var hasDoorbell = false
    var doorbellDue = polls ? ckvm_monotonic() &+ Self.doorbellDelay : .max
    var seen: UInt64 = .max
    var environments: [Environment] = []
    var polled = PolledRings()
    var clocksDue: UInt64 = 0
    var consolesDue: UInt64 = 0
    var lastWork = ckvm_monotonic()
    var hasWorked = false
    var rounds: UInt32 = 0
    while true {
      sendAnswers()
      let now = version.load(ordering: .acquiring)
      if now != seen {
        seen = now
        if takeChanges(&environments) { return }
        // All of them: who sleeps is found out at the first look.
        _ = woken.withLock { woken in woken.removeAll() }
        for environment in environments {
          environment.isPolled.store(true, ordering: .sequentiallyConsistent)
        }
        polled = PolledRings(environments)
        lastWork = ckvm_monotonic()
      }
      var worked = false
      if polls {
        takeWoken(&polled)
        worked = polled.serve()
      }
      rounds &+= 1
      if worked {
        hasWorked = true
        if givesWay.load(ordering: .relaxed) {
          givesWay.store(false, ordering: .relaxed)
          sched_yield()
        }
      }
      // Also while there is work, or an environment that always has some would outlive its time limit.
      if !polls || rounds % 64 == 0 {
        let time = ckvm_monotonic()
        // The clock is not read for each call.
        if hasWorked { (lastWork, hasWorked) = (time, false) }
        if time >= clocksDue || !polls {
          seeToClocks(environments, at: time)
          clocksDue = time &+ UInt64(environments.count) * Self.clockShare
        }
        let looksAtConsoles = time >= consolesDue
        if looksAtConsoles {
          for environment in environments where environment.consolePending.load(ordering: .relaxed) {
            environment.advanceConsole()
          }
          let end = ckvm_monotonic()
          consolesDue = end &+ (end &- time) &* Self.consoleShare
        }
        runErrand(at: time)
        if !worked, !polls || time &- lastWork > Self.idleWindow {
          if time >= doorbellDue { (hasDoorbell, doorbellDue) = (bindDoorbell(hardware), .max) }
          // What was not looked at may be waiting for nobody but this thread.
          sleep(
            environments, hasDoorbell: hasDoorbell,
            until: min(
              doorbellDue, errandDue.load(ordering: .acquiring), looksAtConsoles ? .max : consolesDue))
          lastWork = ckvm_monotonic()
          consolesDue = 0
        }
      }
      // Not only for the host's sake: whoever looks without a pause takes the line away while it is being written.
      ckvm_pause()
    }
  }

  /// Brings the list up to date. Returns whether the machine stops.
  private func takeChanges(_ environments: inout [Environment]) -> Bool {
    let (added, removed, isStopping) = served.withLock { served in
      defer { (served.added, served.removed) = ([], []) }
      return (served.added, served.removed, served.isStopping)
    }
    environments += added
    if !removed.isEmpty { environments.removeAll { removed.contains($0.id) } }
    return isStopping
  }

  /// Has its ring polled again. Called before it enters guest mode.
  func poll(_ environment: Environment) {
    guard polls, !environment.isPolled.exchange(true, ordering: .sequentiallyConsistent) else { return }
    woken.withLock { $0.append(environment) }
    hasWoken.store(true, ordering: .releasing)
  }
  private func takeWoken(_ polled: inout PolledRings) {
    guard hasWoken.load(ordering: .acquiring) else { return }
    hasWoken.store(false, ordering: .releasing)
    let back = woken.withLock { woken in
      defer { woken = [] }
      return woken
    }
    polled.add(back)
  }

  private func announce(_ new: Int32, to environments: [Environment]) {
    mode.withLock { mode in
      mode = new
      for environment in environments
      where environment.isTold.load(ordering: .relaxed) && !environment.isWaiting.load(ordering: .acquiring) {
        environment.setService(new)
      }
    }
  }

  /// Time limits and timers.
  private func seeToClocks(_ environments: [Environment], at time: UInt64) {
    for environment in environments {
      if environment.deadline <= time { environment.requestEnd(.timeLimit(environment.timeLimit ?? .zero)) }
      environment.fireTimer(at: time)
      environment.giveUpCall(at: time)
      environment.enforceRevocation(at: time)
      environment.wakeIfPredicateHolds(at: time)
      // Asked to end and still here: whoever asked may have kicked too early.
      if environment.endRequested.load(ordering: .relaxed) { environment.latch.kick() }
    }
  }

  /// Has a store to the doorbell wake this thread. Where KVM refuses, environments go on being served at an exit.
  private func bindDoorbell(_ hardware: Hardware) -> Bool {
    let address = Kernel.doorbell.value + UInt64(EXO_DOORBELL_WAKE)
    return ckvm_ioeventfd(hardware.vm.number, address, 4, doorbell.number, false) >= 0
  }

  /// Announces the sleep, looks once more, and sleeps until a doorbell, a console, a limit, a notice or that time.
  private func sleep(_ environments: [Environment], hasDoorbell: Bool, until latest: UInt64) {
    if polls {
      announce(hasDoorbell ? EXO_SERVICE_ASLEEP : EXO_SERVICE_EXIT, to: environments)
      // An environment stores its submission, then reads the status; we store the status, then read submissions.
      atomicMemoryFence(ordering: .sequentiallyConsistent)
    }
    defer { if polls { announce(EXO_SERVICE_POLLED, to: environments) } }
    if polls {
      var polled = PolledRings(environments.filter { $0.isPolled.load(ordering: .relaxed) })
      if hasWoken.load(ordering: .acquiring) || polled.serve() { return }
    }
    var waits = [
      pollfd(fd: control.number, events: Int16(POLLIN), revents: 0),
      pollfd(fd: doorbell.number, events: Int16(POLLIN), revents: 0),
    ]
    isAsleep.store(true, ordering: .sequentiallyConsistent)
    defer { isAsleep.store(false, ordering: .relaxed) }
    let now = ckvm_monotonic()
    let soon = now &+ Self.patience
    var deadline = latest
    for environment in environments {
      deadline = min(
        deadline,
        environment.endRequested.load(ordering: .sequentiallyConsistent) ? soon : environment.deadline,
        environment.timer.load(ordering: .sequentiallyConsistent),
        environment.callDeadline.load(ordering: .sequentiallyConsistent),
        environment.revocationDeadline.load(ordering: .sequentiallyConsistent))
      if environment.hasPredicate.load(ordering: .sequentiallyConsistent),
        environment.isWaiting.load(ordering: .sequentiallyConsistent)
      {
        deadline = min(deadline, now &+ Self.predicateInterval)
      }
      if environment.consolePending.load(ordering: .relaxed) {
        waits += environment.console.withLock { $0.interests }
      }
    }
    let left: Int64 = deadline == .max ? -1 : deadline > now ? Int64(clamping: deadline - now) : 0
    _ = unsafe ckvm_poll(&waits, CInt(waits.count), left)
    _ = ckvm_eventfd_drain(control.number)
    _ = ckvm_eventfd_drain(doorbell.number)
  }
}
