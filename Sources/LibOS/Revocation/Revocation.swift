#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// What this environment is asked to give back, and what was taken from it.
  public enum Revocation {
    /// A request: give that much back by then, or it is chosen for you. It comes as an event of the kind `revocation`.
    public struct Request: Equatable, Sendable {
      /// `EXO_KIND_*`.
      public let kind: UInt32
      public let amount: UInt64
      /// How much of it has been given or taken.
      public let released: UInt64
      /// In nanoseconds of `Clock.now`.
      public let deadline: UInt64
      public var owed: UInt64 { amount - released }
    }

    /// What is asked now; nil for nothing.
    public static var pending: Request? {
      let state = state
      guard state.kind != 0 else { return nil }
      return Request(
        kind: state.kind, amount: state.asked, released: state.released, deadline: state.deadline)
    }

    /// How often something was taken.
    public static var repossessions: UInt32 { state.repossessions }

    /// What was taken the `number`th time, counted from 0. The vector holds the last 32.
    public static func repossession(_ number: UInt32) -> exo_repossession {
      let slot = Int(number % UInt32(EXO_REPOSSESSED_CAPACITY))
      return UnsafePointer<exo_repossession>(
        bitPattern: UInt(exo_kit_start) + UInt(EXO_REPOSSESSED_OFFSET)
      ).unsafelyUnwrapped[slot]
    }

    private static var state: exo_revocation {
      // The exokernel writes it meanwhile.
      _ = exo_load32(exo_kit_start + UInt64(EXO_REVOCATION_OFFSET))
      return UnsafePointer<exo_revocation>(
        bitPattern: UInt(exo_kit_start) + UInt(EXO_REVOCATION_OFFSET)
      ).unsafelyUnwrapped.pointee
    }
  }

  extension Environment {
    /// Asks it for some of what it has, without waiting. The answer comes when it has been given, or taken.
    /// - Parameters:
    ///   - kind: `EXO_KIND_*`: frames, slices, environments, gates or regions.
    ///   - amount: how many.
    ///   - deadline: in nanoseconds of `Clock.now`. What is not given by then is taken.
    /// - Throws: `tryAgain` if too many answers are outstanding.
    public func askBack(
      _ kind: Int32, _ amount: UInt64, by deadline: UInt64
    ) throws(ExocallError) -> RevocationAnswer {
      let ticket = Events.masked { () -> RingTicket? in
        let ticket = machineRing.submit(
          RingRequest(EXO_CALL_revoke_request.rawValue, capability.handle, UInt64(kind), amount, deadline))
        machineRing.notify()
        return ticket
      }
      guard let ticket else { throw .tryAgain }
      return RevocationAnswer(ticket: ticket)
    }
  }

  /// An answer that comes when an environment has given back what it was asked for, or it was taken. It is good for one.
  public struct RevocationAnswer {
    let ticket: RingTicket

    /// What was given, and what was taken.
    /// - Throws: see `revoke_request` in docs/exocalls.md.
    public func wait() throws(ExocallError) -> (given: UInt64, taken: UInt64) {
      while true {
        // A handler may take the completion between the look and the sleep.
        let mark = Wakeup.mark
        guard machineRing.holds(ticket.tag) else { throw .invalid }
        if let answer = Events.masked({ machineRing.poll(ticket) }) {
          if answer.result < 0 { throw ExocallError(number: Int32(truncatingIfNeeded: -answer.result)) }
          return (answer.values.0, answer.values.1)
        }
        Wakeup.sleep(since: mark)
      }
    }
  }
#endif
