#if hasFeature(Embedded)
  import ExoABI

  extension Exocall {
    /// Has the processor enter `handler` at ring 3 when a vector's exception is raised.
    /// - Parameters:
    ///   - vector: the exception.
    ///   - handler: the address to enter.
    ///   - stackTop: a multiple of 16, in writable memory of this environment's own; it is pinned.
    ///   - flags: `EXO_EXCEPTION_WITH_ADDRESS`, page faults only.
    /// - Throws: `invalid`, `badAddress`, `busy` if the class has another stack, `notPermitted`.
    public static func exceptionBind(
      _ vector: UInt8, handler: UInt64, stackTop: UInt64, flags: UInt64
    ) throws(ExocallError) {
      _ = try make(RingRequest(EXO_CALL_exception_bind.rawValue, UInt64(vector), handler, stackTop, flags))
    }

    /// Gives a vector back to the exokernel.
    /// - Throws: `invalid`, `noEntry` if it is not bound.
    public static func exceptionUnbind(_ vector: UInt8) throws(ExocallError) {
      _ = try make(RingRequest(EXO_CALL_exception_unbind.rawValue, UInt64(vector)))
    }

    /// Nanoseconds of the monotonic clock, as the exokernel reads it. `Clock.now` needs no call.
    public static func clock() throws(ExocallError) -> UInt64 {
      try UInt64(make(RingRequest(EXO_CALL_clock.rawValue)).result)
    }
  }
#endif
