#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// What came of entering a child that was made ready for it.
  public enum Visit: Equatable, Sendable {
    /// It has gone back with a status. It can be made ready again.
    case returned(status: UInt8)
    /// It waits for something, or the slice was over: it runs on a virtual processor of its own from now on.
    case goesOn
    /// It has ended, or is to be ended: its status is not known here.
    case lost
  }

  extension Environment {
    /// Makes a child that has not been started ready to be entered by this environment, on its virtual processor and time. One
    /// that has come back is as it was when it was made ready first: what it had written to and nobody else has mapped is zero.
    /// - Parameters:
    ///   - entry: where it begins. It finds the address of its start page in RDI and the argument in RSI, as if started.
    ///   - stack: its stack pointer there.
    /// - Returns: what it is entered by, with `visit`. It closes where the child goes on by itself.
    /// - Throws: `notPermitted` if another made it; `invalid` if it is on another processor; `busy` if it was started, or is not to be made
    ///   what it was; see `environment_ready` in docs/exocalls.md.
    public func ready(at entry: UInt64, stack: UInt64) throws(ExocallError) -> Connection {
      try Gate.bindEntry()
      let answer = try Exocall.make(
        RingRequest(EXO_CALL_environment_ready.rawValue, capability.handle, entry, stack))
      return Connection(accepted: UInt32(truncatingIfNeeded: answer.result), isLocal: true)
    }

    /// Enters a child that is ready, and returns when it has gone back, or goes on without this environment.
    public func visit(_ connection: Connection, argument: UInt64 = 0) -> Visit {
      var message = Message()
      message.words.0 = UInt64(exo_kit_start)
      message.words.1 = argument
      do throws(ExocallError) {
        try Connection.handingOver { () throws(ExocallError) in try connection.callOnce(&message) }
      } catch {
        return error == .timedOut ? .goesOn : .lost
      }
      return .returned(status: UInt8(truncatingIfNeeded: message.words.0))
    }
  }
#endif
