#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// One end of the connection between a sender and a port: a stream of messages each way, on a page of the exokernel's that
  /// neither can take away.
  public final class PortLink {
    let connection: Connection
    var producer: PipeProducer
    var consumer: PipeConsumer
    private var framer = PortFramer()
    var peer: PipePeer
    /// The environment at the other end, if this one was given the right to put capabilities into its table: needed to send rights.
    public var environment: Environment?
    /// Called once when the other end has gone: a dead-name notification.
    public var onDeath: (() -> Void)?
    private var wasMourned = false

    init(_ connection: Connection, isCaller: Bool) {
      self.connection = connection
      producer = PipeProducer(.on(connection, fromCaller: isCaller))
      consumer = PipeConsumer(.on(connection, fromCaller: !isCaller))
      peer = PipePeer(connection)
      Ports.add(self)
    }

    /// Whether the other end is gone. Messages that it sent before can still be received.
    public var isDead: Bool { peer.isGone() }

    func mourn() {
      guard !wasMourned, isDead else { return }
      wasMourned = true
      onDeath?()
    }

    /// Whoever is told that the port is dead has been notified of it before.
    private func died() -> PortError {
      mourn()
      return .dead
    }

    /// Looks out for a message that is on its way from another processor. Who looks without a pause takes the line away while the
    /// peer writes it.
    @inline(__always)
    func glance() {
      if peer.isLocal { return }
      var left = 50
      while left > 0, !consumer.hasNews {
        exo_pause()
        left -= 1
      }
    }

    /// - Throws: `dead` when the peer has gone and all was taken.
    func take() throws(PortError) -> PortFrame? {
      if let frame = try next() { return frame }
      guard peer.isGone() else { return nil }
      // What it sent before it went is seen now.
      if let frame = try next() { return frame }
      throw died()
    }
    @inline(__always)
    private func next() throws(PortError) -> PortFrame? {
      guard let frame = try framer.next(from: &consumer) else { return nil }
      if consumer.mustWake() { peer.wake() }
      return frame
    }

    func send(
      _ kind: PortFrame.Kind, id: UInt32, _ text: UnsafeRawBufferPointer, _ rights: [Capability],
      until deadline: UInt64?
    ) throws(PortError) {
      var handles: [UInt64] = []
      for right in rights { handles.append(try hand(right)) }
      if isDead { throw died() }
      if try producer.offer(kind, id: id, text, rights: handles) {
        if producer.mustWake() { peer.wake() }
        return
      }
      func announce(_ isAsleep: Bool) { isAsleep ? producer.announceSleep() : producer.endSleep() }
      try Ports.wait(for: [self], until: deadline, announce: announce) { () throws(PortError) in
        if self.isDead { throw self.died() }
        return try self.producer.offer(kind, id: id, text, rights: handles)
      }
      if producer.mustWake() { peer.wake() }
    }

    /// Puts a capability into the peer's table; what it is called there.
    private func hand(_ right: Capability) throws(PortError) -> UInt64 {
      guard let environment else { throw .exocall(.notPermitted) }
      do throws(ExocallError) {
        let rights = try right.inspect().rights
        return try right.grant(to: environment, rights).handle
      } catch { throw .exocall(error) }
    }

    /// Lets go of this end: the other finds the port dead.
    public func close() {
      producer.close()
      consumer.close()
      peer.wake()
      Ports.remove(self)
      try? connection.close()
    }
  }
#endif
