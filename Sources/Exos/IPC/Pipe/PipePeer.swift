#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// The environment at the other end of a pipe or a port: how it is woken, and whether it lives.
  public struct PipePeer {
    private enum Means {
      case connection(Connection)
      case environment(Environment)
      case unknown
    }
    private let means: Means
    private var watch: Watch?
    private var hasEnded = false
    /// Whether it wakes this environment.
    private(set) var wakes = true
    /// Whether it runs on this processor, so that watching for what it does would keep it from doing it.
    public let isLocal: Bool

    /// What a message that wakes carries. It means nothing else, so that one that comes late does no harm.
    public static let wakeup: UInt64 = 0x7769_0000_0000_0000

    /// One that a connection leads to. Neither needs any authority over the other.
    public init(_ connection: Connection) {
      means = .connection(connection)
      PipeEvents.add(connection)
      isLocal = connection.isLocal
    }

    /// One that this environment has a capability to, with the rights to deliver to it and to inspect it.
    /// - Throws: `tryAgain` if too many answers are outstanding.
    public init(_ environment: Environment, isLocal: Bool) throws(ExocallError) {
      means = .environment(environment)
      self.isLocal = isLocal
      watch = Watch(try environment.watch())
    }

    /// One that wakes this end, and cannot be woken by it: the process that made this one.
    public static var waking: PipePeer { PipePeer(wakes: true) }
    /// One that is not known. It is not woken, and nor does it wake: both look again and again, a thousand times a second.
    public static var unknown: PipePeer { PipePeer(wakes: false) }
    private init(wakes: Bool) {
      means = .unknown
      isLocal = false
      self.wakes = wakes
    }

    /// Wakes it. One that has ended needs no waking.
    public func wake() {
      switch means {
      case .connection(let connection): try? connection.signal()
      case .environment(let environment): try? Events.post(Self.wakeup, to: environment.capability.handle)
      case .unknown: break
      }
    }

    /// Whether it has ended, or let go of the connection.
    public mutating func isGone() -> Bool {
      if hasEnded { return true }
      switch means {
      case .connection(let connection):
        hasEnded = connection.peer == .closed || connection.peer == .none
      case .environment:
        // A capability that was taken back tells nothing either: nobody can be waited for any more.
        do throws(ExocallError) { hasEnded = try watch?.answer.poll() != nil } catch { hasEnded = true }
      case .unknown: break
      }
      return hasEnded
    }

    /// The answer that tells the peer's end, which keeps a place in the ring until the last copy of this peer is gone.
    private final class Watch {
      let answer: EnvironmentWatch
      init(_ answer: EnvironmentWatch) { self.answer = answer }
      deinit { answer.cancel() }
    }

    /// Lets it run, where it shares the processor.
    func giveWay() {
      var handle: UInt64 = 0
      if case .environment(let environment) = means { handle = environment.capability.handle }
      exo_yield(Startup.page.pointee.doorbell, handle)
    }
  }
#endif
