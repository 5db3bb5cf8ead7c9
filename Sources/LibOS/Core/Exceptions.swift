#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// The interrupted code's registers. A handler may change any; the code goes on with what it leaves.
  public typealias ExceptionFrame = exo_exception_frame

  /// The handling of exceptions by this environment itself: the processor enters the handler without the
  /// exokernel, and leaves it the same way.
  public enum Exceptions {
    /// Runs on the stack of the vector's class, with a clean floating-point unit. It may make exocalls and raise
    /// exceptions of the other classes. Returning goes on where the frame says.
    public typealias Handler = (inout ExceptionFrame) -> Void

    nonisolated(unsafe) private static var handlers: UnsafeMutablePointer<Handler?>?
    /// One bit for each class with a handler running.
    nonisolated(unsafe) private static var active: UInt32 = 0

    /// Has a vector handled by a Swift function.
    /// - Parameters:
    ///   - vector: the exception.
    ///   - withAddress: of page faults only: the frame says which address was touched. Only ring 0 can read it, so
    ///     that such a fault passes through the nucleus; a handler that knows without, from the registers for example, is
    ///     entered directly.
    ///   - stackTop: of a stack whose pages this environment owns; nil for the image's.
    ///   - handler: given the registers, which it may change.
    /// - Throws: see `Exocall.exceptionBind`.
    public static func bind(
      _ vector: ExceptionVector, withAddress: Bool = true, stackTop: UInt64? = nil,
      _ handler: @escaping Handler
    ) throws(ExocallError) {
      if handlers == nil {
        handlers = .allocate(capacity: Int(EXO_VECTOR_COUNT))
        handlers?.initialize(repeating: nil, count: Int(EXO_VECTOR_COUNT))
      }
      let before = handlers?[Int(vector.rawValue)]
      handlers?[Int(vector.rawValue)] = handler
      do throws(ExocallError) {
        let isDirect = vector == .pageFault && !withAddress
        if vector == .pageFault { tellsAddress = !isDirect }
        try bindRaw(
          vector,
          isDirect ? exo_page_fault_entry_without_address() : exo_exception_entry(UInt32(vector.rawValue)),
          stackTop: stackTop, withAddress: vector == .pageFault && withAddress)
      } catch {
        handlers?[Int(vector.rawValue)] = before ?? nil
        throw error
      }
    }

    /// Has page faults come with their address, whoever handles them: for what `PageSharing` is for.
    package static func bindForSharing() throws(ExocallError) {
      try bindRaw(.pageFault, exo_exception_entry(14), withAddress: true)
      tellsAddress = true
    }
    /// Whether the gate of page faults tells the address.
    package private(set) nonisolated(unsafe) static var tellsAddress = true

    /// Has a vector enter code of one's own directly. RSP then points to what the processor pushed: the error
    /// code if the vector has one, then RIP, CS, RFLAGS, RSP and SS; `iretq` goes back.
    /// - Parameters:
    ///   - vector: the exception.
    ///   - address: the handler, entered as the processor enters one.
    ///   - stackTop: a multiple of 16, common to the vectors of a class; the class's own stack if left out.
    ///   - withAddress: page faults only: the address touched is pushed too, below the error code.
    /// - Throws: see `Exocall.exceptionBind`.
    public static func bindRaw(
      _ vector: ExceptionVector, _ address: UInt64, stackTop: UInt64? = nil, withAddress: Bool = false
    ) throws(ExocallError) {
      try Exocall.exceptionBind(
        vector.rawValue, handler: address, stackTop: stackTop ?? self.stackTop(of: vector.stackClass),
        flags: withAddress ? UInt64(EXO_EXCEPTION_WITH_ADDRESS) : 0)
    }

    /// Leaves a vector to the exokernel again, which ends the environment at the next exception.
    /// - Throws: `noEntry` if it is not bound.
    public static func unbind(_ vector: ExceptionVector) throws(ExocallError) {
      try Exocall.exceptionUnbind(vector.rawValue)
      handlers?[Int(vector.rawValue)] = nil
    }

    /// Top of the stack that exceptions of a class arrive on.
    public static func stackTop(of stackClass: ExceptionVector.Class) -> UInt64 {
      ExceptionStacks.top(Int(stackClass.rawValue))
    }

    static func dispatch(_ frame: UnsafeMutablePointer<ExceptionFrame>) {
      let number = frame.pointee.vector
      if number == UInt64(EXO_EVENT_VECTOR) { return Events.dispatch(frame) }
      if number == 14, let sharing = PageSharing.current {
        if sharing.resolve(frame) { return }
        if handlers == nil {
          // Nobody's: tried again without a gate, it ends the environment with a report.
          try? Exocall.exceptionUnbind(14)
          return
        }
      }
      guard let vector = ExceptionVector(rawValue: UInt8(truncatingIfNeeded: number)),
        let handler = handlers?[Int(number)]
      else { panic("exception without a handler") }
      let bit = 1 << vector.stackClass.rawValue as UInt32
      // The outer handler's frame is gone already: it cannot be returned from.
      if active & bit != 0 { panic("exception in a handler of its own class") }
      active |= bit
      handler(&frame.pointee)
      active &= ~bit
    }
  }

  @c(exo_guest_exception)
  func dispatchException(_ frame: UnsafeMutablePointer<exo_exception_frame>) { Exceptions.dispatch(frame) }
#endif
