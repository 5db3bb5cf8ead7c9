#if hasFeature(Embedded)
  import ExoABI

  /// The exocalls as typed functions. Each makes its call through the ring and waits for the answer.
  public enum Exocall {
    /// Makes a call and turns a negative result into an error.
    @inline(__always)
    static func make(_ request: RingRequest) throws(ExocallError) -> RingAnswer {
      guard let answer = machineRing.call(request) else { throw .tryAgain }
      if answer.result < 0 { throw ExocallError(number: Int32(truncatingIfNeeded: -answer.result)) }
      return answer
    }

    /// Does nothing, with a round trip through the ring.
    @inline(__always)
    public static func null() throws(ExocallError) { _ = try make(RingRequest(EXO_CALL_null.rawValue)) }

    /// Ends this environment at once; nothing is flushed.
    public static func exit(_ status: Int32) -> Never {
      let request = RingRequest(EXO_CALL_exit.rawValue, UInt64(bitPattern: Int64(status)))
      while true { _ = machineRing.call(request) }
    }

    /// Writes bytes to the console.
    /// - Returns: how many were written, possibly fewer than asked.
    /// - Throws: `closedPipe` if nobody reads, `inputOutput`, `badAddress`, `invalid`.
    public static func consoleWrite(_ bytes: UnsafeRawBufferPointer) throws(ExocallError) -> Int {
      try Int(
        make(RingRequest(EXO_CALL_console_write.rawValue, address(bytes.baseAddress), UInt64(bytes.count)))
          .result)
    }

    /// Reads bytes from the console, waiting for the first.
    /// - Returns: how many were read, 0 at the end of the input.
    /// - Throws: `busy` if another read is pending, `inputOutput`, `badAddress`, `invalid`.
    public static func consoleRead(_ bytes: UnsafeMutableRawBufferPointer) throws(ExocallError) -> Int {
      try Int(
        make(RingRequest(EXO_CALL_console_read.rawValue, address(bytes.baseAddress), UInt64(bytes.count)))
          .result)
    }

    @inline(__always)
    static func address(_ pointer: UnsafeRawPointer?) -> UInt64 { UInt64(UInt(bitPattern: pointer)) }
  }
#endif
