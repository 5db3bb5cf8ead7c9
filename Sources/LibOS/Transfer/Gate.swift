#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// What a call through a gate carries, each way: six words, and a seventh that says what is asked, or how it went.
  public typealias Message = exo_message

  /// A gate of this environment: others call through it, if they were given the capability.
  ///
  ///     let gate = try Gate.create()
  ///     _ = try gate.capability.grant(to: client, .call)
  ///     Gate.serve { message in message.words.0 += 1 }
  public struct Gate: Sendable {
    public let capability: Capability
    /// What `Message.gate` says of calls through it.
    public let number: UInt32

    /// Answers a call in place. It runs on a stack of its own, as the environment that serves, on the caller's time. It must not
    /// wait: a caller that gives up leaves the answer to be finished on this environment's time.
    public typealias Handler = (inout Message) -> Void

    nonisolated(unsafe) fileprivate static var handler: Handler?
    nonisolated(unsafe) private static var isBound = false
    /// What the call being answered asks for: the seventh word of its message.
    nonisolated(unsafe) public fileprivate(set) static var asked: Int64 = 0

    /// - Throws: see `gate_create` and `transfer_bind` in docs/exocalls.md.
    public static func create() throws(ExocallError) -> Gate {
      try bindEntry()
      let answer = try Exocall.make(RingRequest(EXO_CALL_gate_create.rawValue))
      return Gate(
        capability: Capability(handle: UInt64(bitPattern: answer.result)),
        number: UInt32(truncatingIfNeeded: answer.values.0))
    }

    /// A forked child has no entry.
    static func forget() { isBound = false }

    /// Binds the protected entry context, once.
    static func bindEntry() throws(ExocallError) {
      if isBound { return }
      exo_transfer_prepare(Startup.page)
      _ = exo_transfer_set_open(0)
      _ = try Exocall.make(RingRequest(EXO_CALL_transfer_bind.rawValue, exo_transfer_entry_address()))
      isBound = true
    }
    /// The entry is another one now, once protection keys are used.
    package static func bindEntryAgain() throws(ExocallError) {
      guard isBound else { return }
      _ = try Exocall.make(RingRequest(EXO_CALL_transfer_bind.rawValue, exo_transfer_entry_address()))
    }

    /// Answers calls until `attend` says that it is enough. It gets the events that come, with no call being answered
    /// meanwhile; callers find the gate busy.
    public static func serve(
      attend: (Event) -> Bool = { _ in true }, _ handler: @escaping Handler
    ) {
      self.handler = handler
      let wasMasked = Events.isMasked
      Events.mask()
      var goesOn = true
      while goesOn {
        _ = exo_transfer_set_open(1)
        while !Events.hasPending { machineRing.bell.wait(for: machineRing.consumed &+ 1) }
        // While somebody is in here, he is not to be disturbed.
        while exo_transfer_set_open(0) == 0 { exo_yield(Startup.page.pointee.doorbell, 0) }
        while goesOn, let event = Events.poll() { goesOn = attend(event) }
      }
      self.handler = nil
      if !wasMasked { Events.unmask() }
    }
  }

  @c(exo_guest_called)
  func answerCall(_ message: UnsafeMutablePointer<exo_message>) {
    Gate.asked = message.pointee.status
    message.pointee.status = 0
    guard let handler = Gate.handler else {
      message.pointee.status = -Int64(EXO_ENOENT)
      return
    }
    handler(&message.pointee)
  }
#endif
