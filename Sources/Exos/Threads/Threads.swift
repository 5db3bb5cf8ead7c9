#if hasFeature(Embedded)
  import ExoABI
  import ExosMemory
  import GuestRuntime
  import LibOS

  /// Threads of this environment, preempted by its timer. Switching is a matter of this library alone: no exocall, no
  /// exokernel. Anything that interrupts sets the soft mask first, so a critical section is `exclusively`.
  public enum Threads {
    nonisolated(unsafe) public private(set) static var current = Thread(number: 0)
    nonisolated(unsafe) private static var policy: SchedulingPolicy = RoundRobin()
    nonisolated(unsafe) private static var ready = 0
    nonisolated(unsafe) private static var sleepers = SleepQueue()
    nonisolated(unsafe) private static var threads: [Thread] = []
    nonisolated(unsafe) private static var created = 0
    /// Nanoseconds of a turn while others wait; 0 before `begin`.
    nonisolated(unsafe) private static var quantum: UInt64 = 0
    nonisolated(unsafe) private static var freeStacks: [ThreadStack] = []
    nonisolated(unsafe) private static var armed: UInt64 = .max
    /// Turns taken away, and answers of the policy that were no thread that could run.
    nonisolated(unsafe) public private(set) static var statistics = (preemptions: 0, switches: 0, nonsense: 0)

    /// Begins: whoever calls is the first thread.
    /// - Parameters:
    ///   - policy: chooses who runs next.
    ///   - quantum: nanoseconds of a turn.
    /// - Throws: see `event_bind` in docs/exocalls.md.
    public static func begin(policy: SchedulingPolicy = RoundRobin(), quantum: UInt64 = 2_000_000)
      throws(ExocallError)
    {
      self.policy = policy
      current.state = .running
      threads = [current]
      exo_thread_save(Startup.page.pointee.features)
      try Events.bind([.timer, .sliceEnd, .message, .childEnded, .packets]) { event in interrupt(event) }
      self.quantum = quantum
    }

    /// Events other than the timer's and the slice's, for whoever wants them. It runs with events masked.
    nonisolated(unsafe) public static var onEvent: ((Event) -> Void)?

    /// Starts a thread.
    /// - Throws: `outOfMemory`.
    @discardableResult
    public static func spawn(
      stackPages: UInt64 = 16, priority: Int = 0, tickets: Int = 1, _ body: @escaping () -> Void
    ) throws(ThreadError) -> Thread {
      try exclusively { () throws(ThreadError) in
        created += 1
        let thread = Thread(number: created)
        thread.priority = priority
        thread.tickets = tickets
        guard let stack = takeStack(pages: stackPages) else { throw .outOfMemory }
        thread.stack = stack
        thread.body = body
        thread.stackPointer = exo_thread_prepare(stack.top)
        threads.append(thread)
        makeReady(thread)
        armTimer()
        return thread
      }
    }

    /// Lets another thread run, if there is one.
    public static func yield() {
      exclusively {
        makeReady(current)
        switchAway()
      }
    }

    /// Waits for a thread's end.
    /// - Throws: what ended it early; `deadlock`.
    public static func join(_ thread: Thread) throws(ThreadError) {
      try exclusively { () throws(ThreadError) in
        while !thread.isEnded {
          thread.joiners.append(current)
          do throws(ThreadError) { try block() } catch {
            thread.joiners.remove(current)
            throw error
          }
        }
      }
      if let outcome = thread.outcome { throw outcome }
    }

    /// Sleeps until a time of `Clock.now`.
    public static func sleep(until time: UInt64) {
      exclusively {
        current.state = .sleeping
        sleepers.insert(current, until: time)
        switchAway()
      }
    }
    public static func sleep(nanoseconds: UInt64) { sleep(until: Clock.now + nanoseconds) }

    /// Within a page-fault handler: if the fault is a thread's running over its stack, ends that thread, which goes on in
    /// its own end when the handler returns.
    public static func endOverflown(_ fault: PageFault, _ frame: inout ExceptionFrame) -> Bool {
      guard quantum > 0, let stack = current.stack, stack.guards(fault.address), !Events.isMasked else {
        return false
      }
      current.outcome = .stackOverflow
      // What is on the stack is given up: there is room again.
      frame.rsp = exo_thread_prepare_end(stack.top)
      frame.rip = exo_thread_end_address()
      return true
    }

    // MARK: - Under the mask

    public static func exclusively<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
      try Events.masked(body)
    }

    static func block() throws(ThreadError) {
      current.state = .blocked
      switchAway()
      if current.isDeadlocked {
        current.isDeadlocked = false
        throw .deadlock
      }
    }

    static func wake(_ thread: Thread) {
      guard thread.state == .blocked || thread.state == .sleeping else { return }
      makeReady(thread)
      armTimer()
    }

    private static func makeReady(_ thread: Thread) {
      thread.state = .ready
      ready += 1
      policy.add(thread)
    }

    /// Runs whoever is next; returns when it is this thread's turn again.
    private static func switchAway() {
      let before = current
      let next = choose()
      next.state = .running
      current = next
      armTimer()
      guard next !== before else { return }
      statistics.switches += 1
      exo_thread_switch(&before.stackPointer, next.stackPointer)
      // Whoever ended just now was not the one that runs: its stack is free.
      reap()
    }

    nonisolated(unsafe) private static var ended: Thread?

    private static func reap() {
      guard let thread = ended else { return }
      ended = nil
      if let stack = thread.stack { freeStacks.append(stack) }
      thread.stack = nil
    }

    private static func choose() -> Thread {
      while true {
        let now = Clock.now
        while let thread = sleepers.popDue(at: now) { makeReady(thread) }
        if ready > 0 {
          ready -= 1
          if let thread = policy.next(), thread.state == .ready { return thread }
          // Nonsense: from now on each has its turn.
          statistics.nonsense += 1
          policy = RoundRobin()
          ready = 0
          for thread in threads where thread.state == .ready { makeReady(thread) }
          continue
        }
        if !sleepers.isEmpty || waitsOutside > 0 {
          if let first = sleepers.first { Events.setTimer(at: first) }
          armed = sleepers.first ?? .max
          Events.wait()
          while let event = Events.poll() { onEvent?(event) }
          continue
        }
        // Everybody waits for somebody: the last to do so learns of it.
        guard current.state == .blocked else { panic("no thread is left to run") }
        current.isDeadlocked = true
        makeReady(current)
      }
    }

    /// Threads that wait for what another environment will do: then waiting is no deadlock.
    nonisolated(unsafe) public static var waitsOutside = 0

    /// One timer serves turns and sleepers.
    private static func armTimer() {
      guard quantum > 0 else { return }
      let turn = ready > 0 ? Clock.now + quantum : UInt64.max
      let due = min(turn, sleepers.first ?? .max)
      // A turn that ends too early only costs its interrupt; one more exocall at every switch would cost more.
      guard due < .max, due < armed || Clock.now >= armed else { return }
      armed = due
      Events.setTimer(at: due)
    }

    // MARK: - Interrupts

    private static func interrupt(_ event: Event) {
      guard event.kind == Events.Kind.timer.rawValue || event.kind == Events.Kind.sliceEnd.rawValue else {
        onEvent?(event)
        return
      }
      if event.kind == Events.Kind.timer.rawValue { armed = .max }
      let now = Clock.now
      while let thread = sleepers.popDue(at: now) { makeReady(thread) }
      guard ready > 0 else { return armTimer() }
      if let frame = Events.interrupted {
        // A handler's stack is everybody's: it is left first.
        if ExceptionStacks.contain(frame.pointee.rsp) { return again(now) }
        // A second event at the same moment takes no second turn away.
        if exo_thread_divert(frame) { statistics.preemptions += 1 }
      } else if ExceptionStacks.contain(exo_stack_pointer()) {
        again(now)
      } else {
        // The end of a critical section, on the thread's own stack.
        statistics.preemptions += 1
        makeReady(current)
        switchAway()
      }
    }

    private static func again(_ now: UInt64) {
      armed = now + 50_000
      Events.setTimer(at: armed)
    }

    /// A turn was taken away: the registers are on the thread's own stack.
    fileprivate static func preempted() { yield() }

    fileprivate static func run() {
      // Whoever switched here had set the mask.
      reap()
      Events.unmask()
      current.body?()
      end()
    }

    fileprivate static func end() -> Never {
      Events.mask()
      let thread = current
      thread.body = nil
      thread.state = .ended
      threads.removeAll { $0 === thread }
      while let joiner = thread.joiners.popFirst() { wake(joiner) }
      guard thread.number != 0 else { panic("the first thread ends with the program") }
      ended = thread
      switchAway()
      panic("a thread ran after its end")
    }

    // MARK: - Stacks

    /// Addresses of stacks; each has as many below it that are never mapped.
    private static var stackBase: UInt64 { 0x6b00_0000_0000 }
    private static var stackStride: UInt64 { 1 << 24 }
    nonisolated(unsafe) private static var stacksMade: UInt64 = 0

    private static func takeStack(pages: UInt64) -> ThreadStack? {
      guard pages > 0, pages < stackStride >> 13 else { return nil }
      if let index = freeStacks.firstIndex(where: { $0.pages == pages }) {
        return freeStacks.remove(at: index)
      }
      let stack = ThreadStack(low: stackBase + stacksMade * stackStride, pages: pages)
      var mapped: UInt64 = 0
      while mapped < pages {
        guard let grant = try? Exocall.frameAllocate(count: pages - mapped) else { break }
        guard
          (try? grant.owner.map(at: stack.low + mapped << 12, pages: grant.count, [.read, .write])) != nil
        else {
          try? grant.owner.drop()
          break
        }
        mapped += grant.count
      }
      stacksMade += 1
      if mapped == pages { return stack }
      try? Exocall.unmap(stack.low, pages: pages)
      return nil
    }
  }

  @c(exo_guest_thread_preempted)
  func threadPreempted() { Threads.preempted() }
  @c(exo_guest_thread_run)
  func threadRun() { Threads.run() }
  @c(exo_guest_thread_end)
  func threadEnd() { Threads.end() }
#endif
