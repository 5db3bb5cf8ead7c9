#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// A signal: a message to a process that interrupts it. The numbers are Linux's. What stops, continues and kills a process
  /// needs no consent of its and is done to its environment.
  public enum Signal: UInt64, CaseIterable, Sendable {
    case hangUp = 1
    case interrupt = 2
    case kill = 9
    case user1 = 10
    case user2 = 12
    case terminate = 15
    case proceed = 18
    case stop = 19

    static var message: UInt64 { 0x7369_0000_0000_0000 }

    /// Sends it.
    /// - Throws: `noEntry` if it has ended, `notPermitted` without the right; `busy` if there is nothing to stop or to go on
    ///   with; see `event_post` and `environment_stop` in docs/exocalls.md.
    public func send(to environment: Environment) throws(ExocallError) {
      switch self {
      case .kill: try environment.end(status: 128 + UInt8(rawValue))
      case .stop: try environment.stop()
      case .proceed: try environment.resume()
      default: try Events.post(Self.message | rawValue, to: environment.capability.handle)
      }
    }
  }

  /// What this process does when it gets a signal.
  public enum Signals {
    /// Handlers by number; nil: the process ends with 128 and the number, as a shell tells it.
    nonisolated(unsafe) private static var handlers: UnsafeMutablePointer<(() -> Void)?>?

    /// Has signals interrupt this process from now on. It takes a stack for events and a binding.
    static func begin() {
      try? Events.bind([.message]) { event in deliver(event) }
    }

    /// Has a function called within the process when a signal comes. It runs where events are handled: it must not wait.
    public static func handle(_ signal: Signal, _ body: @escaping () -> Void) {
      if handlers == nil {
        handlers = .allocate(capacity: 32)
        handlers?.initialize(repeating: nil, count: 32)
      }
      handlers?[Int(signal.rawValue)] = body
    }

    private static func deliver(_ event: Event) {
      guard event.kind == Events.Kind.message.rawValue,
        event.value & 0xffff_0000_0000_0000 == Signal.message,
        let signal = Signal(rawValue: event.value & 0xff)
      else { return }
      if let body = handlers?[Int(signal.rawValue)] { return body() }
      // Nothing is flushed: the interrupted code may be at it.
      Exocall.exit(128 + Int32(signal.rawValue))
    }
  }

  /// Processes that signals are sent to together.
  public struct ProcessGroup: Sendable {
    public var members: [Environment]
    public init(_ members: [Environment] = []) { self.members = members }

    /// Sends a signal to all of them; to how many it went.
    @discardableResult
    public func send(_ signal: Signal) -> Int {
      members.count { (try? signal.send(to: $0)) != nil }
    }
  }
#endif
