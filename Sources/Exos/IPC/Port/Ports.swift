#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// What all ports and links of this environment have in common: the events about them, and waiting.
  enum Ports {
    final class Book {
      var links: [PortLink] = []
      var ports: [Port] = []
    }
    // Nothing at first, so that a child made of this image begins without.
    nonisolated(unsafe) private static var book: Book?

    private static var current: Book {
      if let book { return book }
      let new = Book()
      book = new
      PipeEvents.onConnection = { event in note(event) }
      return new
    }

    static func add(_ link: PortLink) { current.links.append(link) }
    static func remove(_ link: PortLink) { current.links.removeAll { $0 === link } }
    static func add(_ port: Port) { current.ports.append(port) }
    static func remove(_ port: Port) { current.ports.removeAll { $0 === port } }

    /// A connection was made to one of the ports, or closed; false if it is none of theirs.
    private static func note(_ event: Event) -> Bool {
      switch event.value & 0xff & ~UInt64(EXO_GATE_LOCAL) {
      case UInt64(EXO_GATE_CONNECTED):
        let gate = UInt32(truncatingIfNeeded: event.value >> 8)
        guard let port = current.ports.first(where: { $0.gate.number == gate }) else { return false }
        let isLocal = event.value & UInt64(EXO_GATE_LOCAL) != 0
        let link = PortLink(Connection(accepted: event.data, isLocal: isLocal), isCaller: false)
        link.environment = port.sender
        port.links.append(link)
        port.hadSender = true
        return true
      case UInt64(EXO_GATE_CLOSED):
        guard let link = current.links.first(where: { $0.connection.number == event.data }) else {
          return false
        }
        link.mourn()
        return true
      default: return false
      }
    }

    /// Takes note of what has happened to connections.
    static func attend() {
      _ = current
      PipeEvents.discard()
    }

    /// Tries `body` until it says so, or throws, or the time is up.
    static func wait(
      for links: [PortLink], until deadline: UInt64?, announce: (Bool) -> Void,
      _ body: () throws(PortError) -> Bool
    ) throws(PortError) {
      if deadline == 0 { throw .wouldBlock }
      let isNear = !links.isEmpty && links.allSatisfy { $0.connection.isLocal }
      if isNear {
        exo_yield(Startup.page.pointee.doorbell, 0)
        if try body() { return }
      } else {
        let begin = exo_ticks()
        let patience = Clock.scale.ticks(in: 50_000)
        repeat {
          for _ in 0..<256 {
            if try body() { return }
            // Who looks without a pause takes the line away while the peer writes it.
            exo_pause()
          }
          if Events.ringHasPending { attend() }
        } while exo_ticks() &- begin < patience
      }
      while true {
        // New senders first: they too are to know that this end sleeps.
        attend()
        announce(true)
        defer { announce(false) }
        if try body() { return }
        if Events.ringHasPending { continue }
        if let deadline, Clock.now >= deadline { throw .timedOut }
        Wakeup.sleep(until: deadline)
      }
    }
  }
#endif
