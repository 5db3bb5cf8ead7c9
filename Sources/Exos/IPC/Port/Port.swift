#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// A port in the manner of Mach (Accetta et al., USENIX 1986): a queue of messages that one environment receives from. Who has
  /// the capability to its gate has the right to send.
  ///
  /// Each sender has a connection of its own, so that none can spoil or block what another sends; the exokernel keeps what each
  /// may send to. Between environments on any processors.
  public final class Port {
    let gate: Gate
    var links: [PortLink] = []
    private var turn = 0
    /// Who sends here, where all do whom the right was given: needed to answer with rights.
    public var sender: Environment?
    /// Told of each sender that has gone.
    public var onSenderGone: (() -> Void)?

    /// - Throws: see `gate_create` in docs/exocalls.md.
    public init() throws(ExocallError) {
      gate = try Gate.create()
      Ports.add(self)
    }

    /// The right to send: grant it, or send it in a message. With `.grant` its holder may hand it on.
    public var right: Capability { gate.capability }
    /// Whether there has been one.
    var hadSender = false
    /// How many senders are connected.
    public var senders: Int { links.count }

    /// Takes the next message, waiting for one.
    /// - Parameter deadline: nanoseconds of `Clock.now` at which to give up; nil for never, 0 not to wait.
    /// - Throws: `wouldBlock`, `timedOut`.
    public func receive(until deadline: UInt64? = nil) throws(PortError) -> PortMessage {
      if Events.ringHasPending { Ports.attend() }
      // One line can be watched; of several none.
      if deadline != 0, links.count == 1 { links[0].glance() }
      if let message = poll() { return message }
      return try PortSet.receive(from: [self], until: deadline)
    }

    /// One look at each sender. One that has gone, or breaks the protocol, is let go of.
    func poll() -> PortMessage? {
      var left = links.count
      while left > 0 {
        left -= 1
        turn = turn + 1 < links.count ? turn + 1 : 0
        let link = links[turn]
        do throws(PortError) {
          if let frame = try link.take() { return PortMessage(frame, link, self) }
        } catch {
          links.remove(at: turn)
          link.mourn()
          link.close()
          onSenderGone?()
        }
      }
      return nil
    }

    /// Destroys the port: all rights to it are dead names then.
    public func close() {
      for link in links { link.close() }
      links = []
      Ports.remove(self)
      try? gate.capability.drop()
    }
  }

  /// Several ports to receive from at once.
  public struct PortSet {
    public var ports: [Port]
    public init(_ ports: [Port] = []) { self.ports = ports }

    /// Takes the next message to any of them, in turn.
    /// - Throws: as `Port.receive`.
    public mutating func receive(until deadline: UInt64? = nil) throws(PortError) -> PortMessage {
      let message = try Self.receive(from: ports, until: deadline)
      // The others first, the next time.
      if let index = ports.firstIndex(where: { $0 === message.port }), ports.count > 1 {
        ports.append(ports.remove(at: index))
      }
      return message
    }

    static func receive(from ports: [Port], until deadline: UInt64?) throws(PortError) -> PortMessage {
      if Events.ringHasPending { Ports.attend() }
      var found: PortMessage?
      func look() -> Bool {
        for port in ports {
          found = port.poll()
          if found != nil { return true }
        }
        return false
      }
      if look(), let found { return found }
      func announce(_ isAsleep: Bool) {
        for port in ports {
          for link in port.links { isAsleep ? link.consumer.announceSleep() : link.consumer.endSleep() }
        }
      }
      let links = ports.flatMap { $0.links }
      try Ports.wait(for: links, until: deadline, announce: announce) { () throws(PortError) in look() }
      guard let found else { throw .wouldBlock }
      return found
    }
  }

  /// A message that has come.
  public struct PortMessage {
    let frame: PortFrame
    let link: PortLink
    /// Which port it came to.
    public let port: Port

    init(_ frame: PortFrame, _ link: PortLink, _ port: Port) {
      self.frame = frame
      self.link = link
      self.port = port
    }

    public var id: UInt32 { frame.id }
    /// Valid until the next message from the same sender is received.
    public var text: UnsafeRawBufferPointer { frame.text }
    /// Capabilities that came with it. They are handles in this environment's table that the sender named: `inspect` tells
    /// what they are, nothing tells that it was the sender who put them there.
    public var rights: [Capability] { (0..<frame.rightCount).map { Capability(handle: frame.right($0)) } }

    /// Answers. Rights can be sent if the port knows its sender.
    /// - Throws: `dead`, `tooLong`, `wouldBlock` and `timedOut` if the sender does not take its answers.
    public func reply(
      id: UInt32 = 0, _ text: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
      rights: [Capability] = [], until deadline: UInt64? = nil
    ) throws(PortError) {
      try link.send(.reply, id: id, text, rights, until: deadline)
    }
  }

  /// The right to send to a port, in use.
  public final class SendRight {
    public let capability: Capability
    let link: PortLink

    /// Connects to the port of a capability.
    /// - Parameters:
    ///   - capability: the right to send, a capability to the port's gate.
    ///   - environment: the receiver's, if this one may put capabilities into its table: to send rights.
    /// - Throws: see `gate_connect` in docs/exocalls.md.
    public init(_ capability: Capability, to environment: Environment? = nil) throws(ExocallError) {
      self.capability = capability
      link = PortLink(try Connection.open(capability), isCaller: true)
      link.environment = environment
    }

    public var isDead: Bool {
      link.mourn()
      return link.isDead
    }
    /// Called once when the port has died: the dead-name notification. It comes while this environment sends, receives or looks
    /// at `isDead`.
    public var onDeath: (() -> Void)? {
      get { link.onDeath }
      set { link.onDeath = newValue }
    }

    /// Sends, waiting for room.
    /// - Throws: `dead`, `tooLong`, `wouldBlock`, `timedOut`, `corrupt`; `exocall` if a right cannot be given.
    public func send(
      id: UInt32, _ text: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
      rights: [Capability] = [], until deadline: UInt64? = nil
    ) throws(PortError) {
      try link.send(.message, id: id, text, rights, until: deadline)
    }

    /// Waits for the answer to a message, in the order in which they are given.
    /// - Throws: `dead`, `wouldBlock`, `timedOut`, `corrupt`.
    public func receiveReply(until deadline: UInt64? = nil) throws(PortError) -> PortFrame {
      if deadline != 0 { link.glance() }
      if let frame = try link.take() { return frame }
      var found: PortFrame?
      let link = self.link
      func announce(_ isAsleep: Bool) {
        isAsleep ? link.consumer.announceSleep() : link.consumer.endSleep()
      }
      try Ports.wait(for: [link], until: deadline, announce: announce) { () throws(PortError) in
        found = try self.link.take()
        return found != nil
      }
      guard let found else { throw .wouldBlock }
      return found
    }

    /// Sends and waits for the answer.
    public func call(
      id: UInt32, _ text: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
      rights: [Capability] = [], until deadline: UInt64? = nil
    ) throws(PortError) -> PortFrame {
      try send(id: id, text, rights: rights, until: deadline)
      return try receiveReply(until: deadline)
    }

    /// Looks whether the port has died, and notifies if so.
    public func attend() {
      Ports.attend()
      link.mourn()
    }

    public func close() { link.close() }
  }
#endif
