#if hasFeature(Embedded)
  import ExoABI

  /// Another environment, through a capability to it.
  public struct Environment: Sendable {
    public let capability: Capability
    /// Its number in the machine.
    public let number: UInt32

    /// One that a capability was given to.
    public init(capability: Capability, number: UInt32) {
      self.capability = capability
      self.number = number
    }

    /// Makes an environment with nothing in it but its kit. Whoever holds the capability owns it: it ends when the
    /// capability goes.
    /// - Parameters:
    ///   - quota: the most it may have, taken from what this one has left.
    ///   - processor: which of the machine's, or `ownProcessor`; nil for any.
    /// - Throws: `quotaExceeded` if this environment has not that much left to give, `outOfMemory`; `invalid` if there is no
    ///   such processor.
    public static func create(
      _ quota: EnvironmentQuota, on processor: UInt64? = nil
    ) throws(ExocallError) -> Environment {
      let answer = try Exocall.make(
        RingRequest(
          EXO_CALL_environment_create.rawValue, quota.frames, quota.capabilities, quota.bindings,
          quota.environments, (processor ?? .max) &+ 1))
      return Environment(
        capability: Capability(handle: UInt64(bitPattern: answer.result)),
        number: UInt32(truncatingIfNeeded: answer.values.0))
    }

    /// The processor that this environment is on.
    public static var ownProcessor: UInt64 { UInt64(EXO_PROCESSOR_OWN) - 1 }

    /// Maps frames there, from page number `page` of the capability on, and grants the environment a capability to
    /// them with the same rights, which can be revoked. Page tables count against its quota.
    /// - Throws: `badCapability`, `notPermitted`, `stale`, `invalid`, `exists` if a page is mapped there,
    ///   `outOfMemory`, `outOfRange`, `quotaExceeded`, `busy`.
    public func map(
      _ frames: Capability, page: UInt64 = 0, at address: UInt64, pages: UInt64, _ rights: Rights
    ) throws(ExocallError) {
      _ = try Exocall.make(
        RingRequest(
          EXO_CALL_environment_map.rawValue, capability.handle, frames.handle, address,
          page | pages << 32, rights.rawValue))
    }

    /// Starts it for the first time. It finds the address of its start page in RDI and the argument in RSI.
    /// - Throws: `badCapability`, `notPermitted`, `stale`, `busy` if it has been started, `badAddress`.
    public func start(at entry: UInt64, stack: UInt64, argument: UInt64 = 0) throws(ExocallError) {
      _ = try Exocall.make(
        RingRequest(EXO_CALL_environment_start.rawValue, capability.handle, entry, stack, argument))
    }

    /// Keeps it from running until `resume`.
    /// - Throws: `badCapability`, `notPermitted`, `stale`, `busy` if there is nothing to stop.
    public func stop() throws(ExocallError) { try simple(EXO_CALL_environment_stop) }

    /// Lets it run on.
    /// - Throws: `badCapability`, `notPermitted`, `stale`, `busy` if it is not stopped.
    public func resume() throws(ExocallError) { try simple(EXO_CALL_environment_resume) }

    /// Ends it, whatever it does.
    /// - Throws: `badCapability`, `notPermitted`, `stale`.
    public func end(status: UInt8) throws(ExocallError) {
      try simple(EXO_CALL_environment_end, UInt64(status))
    }

    /// Where it stands, and how many frames it holds.
    /// - Throws: `badCapability`, `notPermitted`, `stale`.
    public func inspect() throws(ExocallError) -> (state: EnvironmentState, framesHeld: UInt64) {
      let answer = try Exocall.make(
        RingRequest(EXO_CALL_environment_inspect.rawValue, capability.handle))
      return (EnvironmentState(number: answer.result), answer.values.1)
    }

    /// Asks to be told how it ends, without waiting.
    /// - Throws: `tryAgain` if too many answers are outstanding.
    public func watch() throws(ExocallError) -> EnvironmentWatch {
      let ticket = Events.masked { () -> RingTicket? in
        let ticket = machineRing.submit(
          RingRequest(EXO_CALL_environment_wait.rawValue, capability.handle))
        machineRing.notify()
        return ticket
      }
      guard let ticket else { throw .tryAgain }
      return EnvironmentWatch(ticket: ticket)
    }

    private func simple(_ call: exo_call, _ argument: UInt64 = 0) throws(ExocallError) {
      _ = try Exocall.make(RingRequest(call.rawValue, capability.handle, argument))
    }
  }

  /// An answer that comes when an environment has ended. It is good for one.
  public struct EnvironmentWatch {
    let ticket: RingTicket

    /// How it ended; nil while it has not.
    /// - Throws: `badCapability`, `notPermitted`, `stale`; `invalid` if the answer was taken before.
    public func poll() throws(ExocallError) -> EnvironmentEnd? {
      guard machineRing.holds(ticket.tag) else { throw .invalid }
      guard let answer = Events.masked({ machineRing.poll(ticket) }) else { return nil }
      return try Self.end(answer)
    }

    /// Sleeps until it has ended; events are handled meanwhile.
    /// - Throws: as `poll`.
    public func wait() throws(ExocallError) -> EnvironmentEnd {
      while true {
        // A handler may take the completion between the look and the sleep.
        let mark = Wakeup.mark
        if let end = try poll() { return end }
        Wakeup.sleep(since: mark)
      }
    }

    /// Gives the answer up, so that it keeps no place in the ring once it has come.
    public func cancel() { Events.masked { machineRing.abandon(ticket) } }

    private static func end(_ answer: RingAnswer) throws(ExocallError) -> EnvironmentEnd {
      if answer.result < 0 { throw ExocallError(number: Int32(truncatingIfNeeded: -answer.result)) }
      return EnvironmentEnd(code: answer.result, answer.values.0, answer.values.1)
    }
  }
#endif
