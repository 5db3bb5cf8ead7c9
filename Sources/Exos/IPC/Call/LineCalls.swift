#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// Calls an environment on another processor, by a line of their connection's page each way: `Connection.call` goes to one on
  /// the same processor. They need not trust each other.
  ///
  ///     var caller = LineCaller(try Connection.open(gate))
  ///     let sum = try caller.call(Add.self, (40, 2))
  public struct LineCaller: ~Copyable {
    private var asker: CallAsker
    private var peer: PipePeer
    private var patience = PipePatience()

    public init(_ connection: Connection) {
      asker = CallAsker(.on(connection))
      peer = PipePeer(connection)
    }

    /// Calls, and returns with the answer: it watches for it for a while, then sleeps.
    /// - Parameters:
    ///   - message: the words that go there, and those that come back. `gate` is not used.
    ///   - deadline: nanoseconds of `Clock.now` at which to give up; nil for never. What comes later is dropped.
    /// - Throws: `closedPipe` if the other end has closed or ended, `timedOut`, `inputOutput` if it breaks the protocol; what the
    ///   handler answered.
    @inline(__always)
    public mutating func call(_ message: inout Message, deadline: UInt64? = nil) throws(ExocallError) {
      do throws(PipeError) {
        try asker.ask(message.callWords)
        if asker.mustWake() { peer.wake() }
        // An answer that is on its way comes within this.
        if !peer.isLocal { asker.watch(CallLine.glance) }
        if let answer = try asker.answer() {
          message.callWords = answer
        } else {
          message.callWords = try waitForAnswer(until: deadline)
        }
      } catch { throw ExocallError(error) }
      if message.status < 0 { throw ExocallError(number: Int32(truncatingIfNeeded: -message.status)) }
    }

    private mutating func waitForAnswer(until deadline: UInt64?) throws(PipeError) -> CallLine.Words {
      var result: CallLine.Words = (0, 0, 0, 0, 0, 0, 0)
      // Each closure has one of the two; the compiler cannot tell.
      try withUnsafeMutablePointer(to: &asker) { (asker) throws(PipeError) in
        try patience.wait(
          for: &peer, until: deadline,
          announce: { if $0 { asker.pointee.announceSleep() } else { asker.pointee.endSleep() } }
        ) { () throws(PipeError) in
          guard let answer = try asker.pointee.answer() else { return false }
          result = answer
          return true
        }
      }
      return result
    }

    /// Calls a procedure of the environment at the other end.
    /// - Throws: as `call(_:deadline:)`; `noSuchCall` if the server has no such procedure, and what it answers.
    @inline(__always)
    public mutating func call<Procedure: GateCall>(
      _ procedure: Procedure.Type, _ request: Procedure.Request, deadline: UInt64? = nil
    ) throws(ExocallError) -> Procedure.Answer {
      var message = Message(calling: procedure, request)
      try call(&message, deadline: deadline)
      return message.answer(of: procedure)
    }

    /// No more calls: the server is told.
    public mutating func close() {
      asker.close()
      peer.wake()
    }
  }

  /// Answers what a `LineCaller` asks.
  public struct LineServer: ~Copyable {
    private var answerer: CallAnswerer
    private var peer: PipePeer
    private var patience = PipePatience()

    public init(_ connection: Connection) {
      answerer = CallAnswerer(.on(connection))
      peer = PipePeer(connection)
    }

    /// Takes the next call, waiting for it. One that was given up meanwhile may be missing.
    /// - Parameter deadline: nanoseconds of `Clock.now` at which to give up; nil for never, 0 not to wait.
    /// - Returns: what is asked: its seventh word is `Message.status`.
    /// - Throws: `closed` once there will be none, `peerEnded`, `corrupt`; `wouldBlock`, `timedOut`.
    @inline(__always)
    public mutating func take(until deadline: UInt64? = nil) throws(PipeError) -> Message {
      if !peer.isLocal, deadline != 0 { answerer.watch(CallLine.glance) }
      var message = Message()
      if let words = try answerer.take() {
        message.callWords = words
      } else {
        message.callWords = try waitForCall(until: deadline)
      }
      return message
    }

    private mutating func waitForCall(until deadline: UInt64?) throws(PipeError) -> CallLine.Words {
      var result: CallLine.Words = (0, 0, 0, 0, 0, 0, 0)
      try withUnsafeMutablePointer(to: &answerer) { (answerer) throws(PipeError) in
        try patience.wait(
          for: &peer, until: deadline,
          announce: { if $0 { answerer.pointee.announceSleep() } else { answerer.pointee.endSleep() } }
        ) { () throws(PipeError) in
          guard let words = try answerer.pointee.take() else { return false }
          result = words
          return true
        }
      }
      return result
    }

    /// Answers the call taken last; a negative status is an error.
    @inline(__always)
    public mutating func answer(_ message: Message) {
      answerer.answer(message.callWords)
      if answerer.mustWake() { peer.wake() }
    }

    /// Answers calls until the caller has closed, or ended.
    /// - Parameter handler: finds in `status` what is asked, and leaves there how it went: less than 0 for an error.
    /// - Throws: `corrupt` if the caller breaks the protocol.
    @inline(__always)
    public mutating func serve(_ handler: (inout Message) -> Void) throws(PipeError) {
      do throws(PipeError) {
        while true {
          var message = try take()
          handler(&message)
          answer(message)
        }
      } catch { if error != .closed && error != .peerEnded { throw error } }
    }

    /// The same with the procedures of a server.
    public mutating func serve(_ server: GateServer) throws(PipeError) {
      try serve { message in server.answer(&message, asked: message.status) }
    }

    /// No more answers: the caller is told.
    public mutating func close() {
      answerer.close()
      peer.wake()
    }
  }

  extension CallLine {
    /// Looks at a line before anything dearer: less than a microsecond.
    static var glance: Int { 1000 }

    /// On a connection's page, which the exokernel keeps for both ends. A page that holds calls holds no pipes.
    public static func on(_ connection: Connection) -> CallLine {
      CallLine(address: UInt(bitPattern: connection.page))
    }
  }

  extension Message {
    @inline(__always)
    var callWords: CallLine.Words {
      get {
        (
          words.0, words.1, words.2, words.3, words.4, words.5, UInt64(bitPattern: status)
        )
      }
      set {
        words = (newValue.0, newValue.1, newValue.2, newValue.3, newValue.4, newValue.5)
        status = Int64(bitPattern: newValue.6)
      }
    }
  }

  extension ExocallError {
    /// What became of a call.
    init(_ error: PipeError) {
      switch error {
      case .closed, .peerEnded: self = .closedPipe
      case .timedOut: self = .timedOut
      case .wouldBlock: self = .tryAgain
      case .corrupt, .vanished, .tooLong: self = .inputOutput
      }
    }
  }
#endif
