#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// A way to another environment's gate, and back.
  public struct Connection: Sendable {
    /// What it is called here.
    public let number: UInt32
    /// Whether the other environment is on the same processor, so that `call` goes there.
    public let isLocal: Bool

    /// Connects to a gate.
    /// - Throws: see `gate_connect` in docs/exocalls.md.
    public static func open(_ gate: Capability) throws(ExocallError) -> Connection {
      try Gate.bindEntry()
      let answer = try Exocall.make(RingRequest(EXO_CALL_gate_connect.rawValue, gate.handle))
      return Connection(
        accepted: UInt32(truncatingIfNeeded: answer.result), isLocal: answer.values.0 == 1)
    }
    /// An end that is there: of a connection that a peer made, by the number that its event told.
    public init(accepted number: UInt32, isLocal: Bool = false) {
      self.number = number
      self.isLocal = isLocal
    }

    /// A page that both ends share. It stays until this end closes, whatever the other does.
    public var page: UnsafeMutableRawPointer {
      UnsafeMutableRawPointer(bitPattern: UInt(exo_kit_lines) + UInt(number) << 12).unsafelyUnwrapped
    }

    /// How the other end stands.
    public enum Peer: UInt32 { case none, runnable, asleep, closed }
    public var peer: Peer { Peer(rawValue: exo_load32(peerWord)) ?? .closed }
    private var peerWord: UInt64 { exo_kit_start + UInt64(EXO_PEERS_OFFSET) + UInt64(number) * 8 }

    /// Calls, and returns with the answer in `message`. The other environment runs on this one's time. While it serves
    /// somebody else, this one gives way.
    /// - Parameters:
    ///   - message: the words that go there, and those that come back.
    ///   - deadline: nanoseconds of `Clock.now` at which to give up; nil for never.
    /// - Throws: `noEntry` if there is nobody at the other end, or he is stopped or on another processor; `closedPipe` if the
    ///   other ended meanwhile; `timedOut`; what the handler answered.
    @inline(__always)
    public func call(_ message: inout Message, deadline: UInt64? = nil) throws(ExocallError) {
      let asked = message.status
      while true {
        do throws(ExocallError) { return try callOnce(&message, deadline: deadline) } catch {
          guard error == .busy else { throw error }
          // Where it was turned away it found the refusal in its place.
          message.status = asked
          if let deadline, Clock.now >= deadline { throw .timedOut }
          exo_yield(Startup.page.pointee.doorbell, 0)
        }
      }
    }

    /// The same, and `busy` if somebody is being served.
    @inline(__always)
    public func callOnce(_ message: inout Message, deadline: UInt64? = nil) throws(ExocallError) {
      if let deadline { Self.setDeadline(deadline) }
      let status = exo_transfer_call(number, &message)
      if deadline != nil { Self.setDeadline(0) }
      if status < 0 { throw ExocallError(number: Int32(truncatingIfNeeded: -status)) }
    }

    /// Hands the rest of this slice over with a message: an asynchronous transfer. The other environment runs on it as in a call, and
    /// this one goes on when it has answered, waits for something, or the slice is over. Then it finishes on its own time, and what
    /// it answers is dropped.
    /// - Returns: whether it has answered; `message` is the answer then.
    /// - Throws: as `call(_:deadline:)`, but for `timedOut`.
    @inline(__always)
    public func hand(_ message: inout Message) throws(ExocallError) -> Bool {
      do throws(ExocallError) {
        try Self.handingOver { () throws(ExocallError) in try call(&message) }
      } catch {
        guard error == .timedOut else { throw error }
        return false
      }
      return true
    }

    /// Calls within it give no more than the rest of the slice: then they have timed out.
    @inline(__always)
    static func handingOver(_ body: () throws(ExocallError) -> Void) throws(ExocallError) {
      let control = UnsafeMutablePointer<exo_control>(bitPattern: UInt(Startup.page.pointee.control))
        .unsafelyUnwrapped
      control.pointee.hands_over = 1
      defer { control.pointee.hands_over = 0 }
      try body()
    }

    /// A call to an environment that this one trusts with its registers: nothing is cleared that it might read, nothing is
    /// set that it might have changed.
    @inline(__always)
    public func callTrusting(_ message: inout Message) throws(ExocallError) {
      let status = exo_transfer_call_trusting(number, &message)
      if status < 0 { throw ExocallError(number: Int32(truncatingIfNeeded: -status)) }
    }

    private static func setDeadline(_ time: UInt64) {
      _ = try? Exocall.make(RingRequest(EXO_CALL_gate_deadline.rawValue, time))
    }

    /// Wakes the other end: an event of the kind `gate`.
    /// - Throws: `noEntry`, `closedPipe`.
    public func signal() throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_gate_signal.rawValue, UInt64(number)))
    }

    /// Lets go of this end.
    public func close() throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_gate_disconnect.rawValue, UInt64(number)))
    }
  }
#endif
