#if hasFeature(Embedded)
  import ExoABI

  /// The exocalls as typed functions. Each makes its call through the ring and waits for the answer.
  public enum Exocall {
    /// Makes a call and turns a negative result into an error: what a module is built on that binds to the exokernel by itself.
    @inline(__always)
    public static func make(_ request: RingRequest) throws(ExocallError) -> RingAnswer {
      guard let answer = call(request) else { throw .tryAgain }
      if answer.result < 0 { throw ExocallError(number: Int32(truncatingIfNeeded: -answer.result)) }
      return answer
    }

    /// Makes a call, any one, and waits for its answer; nil if as many as fit are in flight.
    @inline(__always)
    public static func call(_ request: RingRequest) -> RingAnswer? {
      // A handler that makes calls must not find the ring half way through one.
      Events.isBound ? Events.masked({ machineRing.call(request) }) : machineRing.call(request)
    }

    /// Does nothing, with a round trip through the ring.
    @inline(__always)
    public static func null() throws(ExocallError) { _ = try make(RingRequest(EXO_CALL_null.rawValue)) }

    /// Ends this environment at once; nothing is flushed.
    public static func exit(_ status: Int32) -> Never {
      // Whoever serves the ring would have to bring this processor out of the guest: it leaves by itself.
      while true { machineRing.bell.exit(status) }
    }

    /// Most bytes that one console call moves.
    public static var consoleLimit: Int { Int(EXO_PAGE_SIZE) }

    /// Writes bytes to the console.
    /// - Returns: how many were written, possibly fewer than asked.
    /// - Throws: `closedPipe` if nobody reads, `inputOutput`, `badAddress`.
    public static func consoleWrite(_ bytes: UnsafeRawBufferPointer) throws(ExocallError) -> Int {
      try console(EXO_CALL_console_write, bytes.baseAddress, bytes.count)
    }

    /// Reads bytes from the console, waiting for the first.
    /// - Returns: how many were read, 0 at the end of the input.
    /// - Throws: `busy` if another read is pending, `inputOutput`, `badAddress`.
    public static func consoleRead(_ bytes: UnsafeMutableRawBufferPointer) throws(ExocallError) -> Int {
      PageSharing.current?.prepare(UInt64(UInt(bitPattern: bytes.baseAddress)), UInt64(bytes.count))
      return try console(EXO_CALL_console_read, bytes.baseAddress, bytes.count)
    }

    private static func console(
      _ call: exo_call, _ address: UnsafeRawPointer?, _ count: Int
    ) throws(ExocallError) -> Int {
      let length = UInt64(min(count, consoleLimit))
      return try Int(make(RingRequest(call.rawValue, UInt64(UInt(bitPattern: address)), length)).result)
    }
  }
#endif
