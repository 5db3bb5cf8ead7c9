#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// How to wait for a peer: watch for a while, then sleep. How long it watches follows from whether that was of use before:
  /// between what a sleep costs and next to nothing.
  struct PipePatience {
    private static let most: UInt64 = 100_000
    private static let least: UInt64 = 1_000
    private var ticks: UInt64
    private let scale: ClockScale

    init() {
      scale = Clock.scale
      ticks = scale.ticks(in: Self.most)
    }

    /// Tries `body` until it says so, or there is an error, or the time is up, or the peer is gone.
    /// - Parameters:
    ///   - deadline: in nanoseconds of `Clock.now`; nil for never; 0 not to wait at all.
    ///   - announce: says that this end sleeps, or that it does not any more.
    mutating func wait(
      for peer: inout PipePeer, until deadline: UInt64?, announce: (Bool) -> Void,
      _ body: () throws(PipeError) -> Bool
    ) throws(PipeError) {
      if deadline == 0 { throw .wouldBlock }
      if peer.isLocal {
        for _ in 0..<3 {
          peer.giveWay()
          if try body() { return }
        }
      } else {
        let begin = exo_ticks()
        repeat {
          for _ in 0..<64 {
            exo_pause()
            if try body() {
              ticks = min(ticks &* 2, scale.ticks(in: Self.most))
              return
            }
          }
        } while exo_ticks() &- begin < ticks
        ticks = max(ticks / 2, scale.ticks(in: Self.least))
      }
      while true {
        announce(true)
        defer { announce(false) }
        // Gone first: what it did before it went is seen then.
        let isGone = peer.isGone()
        if try body() { return }
        if isGone { throw .peerEnded }
        if let deadline, Clock.now >= deadline { throw .timedOut }
        let next = peer.wakes ? nil : Clock.now + 1_000_000
        Wakeup.sleep(until: next.map { min($0, deadline ?? .max) } ?? deadline)
        PipeEvents.discard()
      }
    }
  }

  /// Events that only wake.
  enum PipeEvents {
    /// The connections that pipes and ports lie on: a signal there says nothing but that there is something to look at.
    nonisolated(unsafe) private static var connections: UInt64 = 0

    /// Told of connections that are made or close; false if they are none of its.
    nonisolated(unsafe) static var onConnection: ((Event) -> Bool)?

    static func add(_ connection: Connection) { connections |= 1 << UInt64(connection.number & 63) }

    /// Forgets those that have come. A ring full of them would take no other event.
    static func discard() {
      Events.makeRoom { event in
        switch event.kind {
        case Events.Kind.message.rawValue: event.value == PipePeer.wakeup
        case Events.Kind.gate.rawValue:
          if event.value == UInt64(EXO_GATE_SIGNALLED) {
            connections & 1 << UInt64(event.data & 63) != 0
          } else {
            onConnection?(event) ?? false
          }
        default: false
        }
      }
    }
  }
#endif
