#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// Sleeping until a condition over one's own memory holds, which the exokernel looks at: another environment that has the page
  /// mapped wakes this one by a store, and nothing else.
  public enum Wakeup {
    /// Has the exokernel wake this environment from sleep whenever a rule's result is not 0. Its inputs: 0 the monotonic clock in
    /// nanoseconds, 1 how many events have not been taken. Its window: the page.
    /// - Parameters:
    ///   - rule: the condition.
    ///   - page: of memory that this environment owns; it is pinned while the rule is bound.
    /// - Throws: see `predicate_bind` in docs/exocalls.md.
    public static func bind(_ rule: RegionRule, page: UInt64) throws(ExocallError) {
      try bindRule(rule, page: page)
      alarm.isBound = false
      isTaken = true
    }

    private static func bindRule(_ rule: RegionRule, page: UInt64) throws(ExocallError) {
      let bytes = rule.bytes
      _ = try bytes.withUnsafeBufferPointer { (buffer) throws(ExocallError) in
        try Exocall.make(
          RingRequest(
            EXO_CALL_predicate_bind.rawValue, UInt64(UInt(bitPattern: buffer.baseAddress)),
            UInt64(buffer.count), page))
      }
    }

    public static func unbind() throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_predicate_bind.rawValue))
      isTaken = false
    }

    /// A forked child has none.
    static func forget() {
      isTaken = false
      alarm = (page: 0, isBound: false, isRefused: false)
    }

    /// The application has bound a predicate of its own.
    nonisolated(unsafe) private static var isTaken = false
    /// A page with a time to wake at, and a predicate that compares it with the clock.
    nonisolated(unsafe) private static var alarm = (page: UInt64(0), isBound: false, isRefused: false)
    private static var alarmAddress: UInt64 { 0x5200_0000_0000 }

    /// Sleeps until something wakes this environment, or a time has come. It may return early: look again at what was
    /// waited for. An exocall may take the news of an event, so whatever makes one here returns instead of sleeping.
    /// - Parameter deadline: in nanoseconds of `Clock.now`; nil for none. It takes a page and a binding of the quota; where
    ///   there are none, or the application has a predicate of its own, it takes the timer, whose event comes then.
    public static func sleep(until deadline: UInt64?) {
      guard let deadline else {
        if alarm.isBound { exo_store64(alarm.page, .max) }
        return sleep()
      }
      let now = Clock.now
      if now >= deadline { return }
      if !alarm.isBound, !isTaken, !alarm.isRefused { return bindAlarm() }
      if alarm.isBound {
        exo_store64(alarm.page, deadline)
        sleep()
        exo_store64(alarm.page, .max)
      } else if now < Events.timer, Events.timer <= deadline {
        sleep()
      } else {
        Events.setTimer(at: deadline)
      }
    }

    /// Sleeps for a time, whatever wakes this environment meanwhile. Events that come stay to be taken.
    /// - Parameter nanoseconds: at least how long.
    public static func pause(_ nanoseconds: UInt64) {
      let end = Clock.now + nanoseconds
      while Clock.now < end { sleep(until: end) }
    }

    private static func bindAlarm() {
      do throws(ExocallError) {
        if alarm.page == 0 {
          let frame = try Exocall.frameAllocate(count: 1).owner
          try frame.map(at: alarmAddress, pages: 1, [.read, .write])
          alarm.page = alarmAddress
        }
        exo_store64(alarm.page, .max)
        var rule = RegionRule()
        rule.set(.r0, to: 0)
        rule.word(at: .r0, into: .r1)
        rule.load(.clock, into: .r2)
        rule.less(.r1, .r2, into: .r3)
        rule.answer(.r3)
        try bindRule(rule, page: alarm.page)
        alarm.isBound = true
      } catch { alarm.isRefused = true }
    }

    /// How many answers have been taken from the ring: to be read before a look at several things that answers are awaited for.
    public static var mark: UInt32 { machineRing.consumed }
    /// Sleeps unless an answer has come since the mark: one look may have taken the answer that another waits for.
    public static func sleep(since mark: UInt32) { machineRing.bell.wait(for: mark &+ 1) }

    /// Sleeps until the rule holds, or something else wakes this environment.
    public static func sleep() { machineRing.bell.wait(for: machineRing.consumed &+ 1) }
  }
#endif
