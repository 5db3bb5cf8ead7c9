#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// What happened to this environment while it was doing something else.
  public typealias Event = exo_event

  /// Events: polled from the ring at no cost, or entering a handler as an interrupt would.
  public enum Events {
    public enum Kind: UInt32 {
      case sliceEnd, revocation, childEnded, message, timer, gate, packets
    }
    /// Runs on the stack of events, with the soft mask set: no other event enters until it returns.
    public typealias Handler = (Event) -> Void

    nonisolated(unsafe) private static var handler: Handler?

    /// Has events of these kinds enter a handler.
    /// - Throws: see `event_bind` in docs/exocalls.md.
    /// - Parameters:
    ///   - kinds: a bit for each kind that enters the handler.
    ///   - stackTop: of a stack whose pages this environment owns; nil for the image's.
    ///   - handler: called for each event, on a stack of its own.
    public static func bind(
      _ kinds: [Kind], stackTop: UInt64? = nil, _ handler: @escaping Handler
    ) throws(ExocallError) {
      self.handler = handler
      let set = kinds.reduce(UInt64(0)) { $0 | 1 << UInt64($1.rawValue) }
      _ = try Exocall.make(
        RingRequest(
          EXO_CALL_event_bind.rawValue, exo_event_entry(Startup.page), stackTop ?? ExceptionStacks.top(3),
          set))
    }

    /// A forked child has none bound, and its timer was never set.
    static func forget() {
      handler = nil
      timer = 0
    }

    /// Leaves events to be polled.
    public static func unbind() throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_event_bind.rawValue))
      handler = nil
    }

    /// Takes the oldest event; nil if there is none.
    public static func poll() -> Event? { EventStore.take() ?? takeFromRing() }

    private static func takeFromRing() -> Event? {
      let taken = control.pointee.events_consumed
      guard exo_load32(Startup.page.pointee.events) != taken else { return nil }
      let event = (ring + Int(taken % UInt32(EXO_EVENT_CAPACITY))).pointee
      control.pointee.events_consumed = taken &+ 1
      return event
    }

    /// Empties the ring, for one that is full takes no more events and then nothing wakes this environment. What is not
    /// dropped can be polled for as before; of more than `EventStore.capacity` such events the last are lost.
    public static func makeRoom(dropping isOfNoUse: (Event) -> Bool) {
      masked {
        while let event = takeFromRing() {
          if !isOfNoUse(event) { EventStore.add(event) }
        }
      }
    }

    /// Takes the oldest of those that `makeRoom` kept and that is wanted; the others stay.
    public static func takeKept(where isWanted: (Event) -> Bool) -> Event? {
      masked { EventStore.take(where: isWanted) }
    }

    public static var hasPending: Bool { EventStore.count > 0 || ringHasPending }
    /// Whether some have come that nobody has looked at.
    public static var ringHasPending: Bool {
      exo_load32(Startup.page.pointee.events) != control.pointee.events_consumed
    }
    static var isBound: Bool { handler != nil }

    /// Runs `body` with no handler entering; events that came meanwhile are handled before it returns.
    @inline(__always)
    public static func masked<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
      // Within a handler, or a section within one: whoever set the mask clears it.
      guard isBound, control.pointee.mask == 0 else { return try body() }
      mask()
      defer { unmask() }
      return try body()
    }

    /// Handles what has come and lets handlers enter again.
    public static func unmask() {
      dispatch()
      exo_store32(Startup.page.pointee.control, 0)
      // One that came in between has nobody to deliver it but the exokernel, at an exit.
      if hasPending { exo_ring_doorbell(Startup.page.pointee.doorbell, UInt32(EXO_DOORBELL_SERVE), 0) }
    }

    /// Sleeps until an event has come that was not there at the last sleep. May return early.
    public static func wait() {
      while !hasPending { machineRing.bell.wait(for: machineRing.consumed &+ 1) }
    }

    /// Posts a message to an environment.
    public static func post(_ value: UInt64, to environment: UInt64) throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_event_post.rawValue, environment, value))
    }

    /// Sets the one timer, in nanoseconds of `Clock.now`; nil stops it.
    public static func setTimer(at time: UInt64?) {
      timer = time ?? 0
      _ = try? Exocall.make(RingRequest(EXO_CALL_timer_set.rawValue, time ?? 0))
    }

    /// When the timer was last set to go off; 0 if it was cleared.
    nonisolated(unsafe) private(set) static var timer: UInt64 = 0

    /// What an event interrupted, while its handler runs because of that; nil where a critical section's end calls it.
    public nonisolated(unsafe) internal(set) static var interrupted: UnsafeMutablePointer<ExceptionFrame>?

    static func dispatch(_ frame: UnsafeMutablePointer<ExceptionFrame>) {
      interrupted = frame
      defer { interrupted = nil }
      dispatch()
    }

    private static func dispatch() {
      while let event = poll() { handler?(event) }
    }

    /// Whether handlers are kept from entering.
    public static var isMasked: Bool { control.pointee.mask != 0 }
    /// Keeps handlers from entering until `unmask`.
    public static func mask() { exo_store32(Startup.page.pointee.control, 1) }

    private static var control: UnsafeMutablePointer<exo_control> {
      UnsafeMutablePointer(bitPattern: UInt(Startup.page.pointee.control)).unsafelyUnwrapped
    }
    private static var ring: UnsafePointer<exo_event> {
      UnsafePointer(bitPattern: UInt(Startup.page.pointee.events) + UInt(EXO_EVENT_RING_OFFSET))
        .unsafelyUnwrapped
    }
  }
#endif
