import ExoABI

/// What becomes of connections.
extension Kernel {
  /// State of a connection's other end, as `exo_peer` tells it.
  enum PeerState: UInt32 { case none, runnable, asleep, closed }

  func publishPeer(_ state: PeerState, to end: Connection.End, isNew: Bool = false) {
    guard let start = domains[end.environment]?.shell.start else { return }
    let word = PhysicalAddress(start.address.value + UInt64(EXO_PEERS_OFFSET) + UInt64(end.number) * 8)
    let generation = memory.load(word) >> 32 + (isNew ? 1 : 0)
    memory.store(UInt64(state.rawValue) | generation << 32, word)
  }

  /// Tells an end which gate its connection leads through.
  func publishGate(_ gate: UInt32, to end: Connection.End) {
    guard let start = domains[end.environment]?.shell.start else { return }
    memory.store32(
      gate, PhysicalAddress(start.address.value + UInt64(EXO_PEER_GATES_OFFSET) + UInt64(end.number) * 4))
  }

  /// Tells the peers of an environment whether it can be reached without waking it.
  func publishPresence(of id: EnvironmentID, isAsleep: Bool) {
    guard let domain = domains[id] else { return }
    for key in domain.connections.values {
      guard let connection = connections[key], connection.isOpen, let peer = connection.peer(of: id) else {
        continue
      }
      publishPeer(isAsleep ? .asleep : .runnable, to: peer)
    }
  }

  /// Transfers go both ways from here on.
  func lead(_ connection: Connection) {
    guard let caller = connection.caller, let callee = connection.callee else { return }
    setSlot(caller, to: callee, as: .called)
    setSlot(callee, to: caller, as: .returned)
  }
  /// Where the slot of one end leads; nowhere if nil.
  private func setSlot(_ end: Connection.End, to peer: Connection.End?, as kind: TransferPage.Kind = .refused)
  {
    guard let domain = domains[end.environment] else { return }
    let target = peer.flatMap { peer in domains[peer.environment].map { (peer.number, $0) } }
    domain.latch.hold {
      if let (number, other) = target {
        domain.shell.transfer.lead(
          end.number, to: other.shell.space.root.address, as: kind, number, in: memory)
      } else {
        domain.shell.transfer.refuse(end.number, root: domain.shell.space.root.address, in: memory)
      }
      if domain.transferStub == .alone(end.number) { domain.shell.transfer.leadAlone(end.number, in: memory) }
    }
  }

  /// Their numbers there, open or not.
  func localConnections(of domain: Domain) -> [Int] {
    domain.connections.compactMap { connections[$0.value]?.isLocal ?? false ? $0.key : nil }
  }

  /// Has an environment leave by the shortest way that its connections allow.
  mutating func chooseStub(of id: EnvironmentID) {
    guard let domain = domains[id], domain.entry != nil, keys != .on else { return }
    let local = localConnections(of: domain)
    let stub = local.count == 1 ? TransferPage.Stub.alone(local[0]) : .selecting
    guard stub != domain.transferStub else { return }
    domains[id]?.transferStub = stub
    domain.latch.hold {
      if case .alone(let number) = stub { domain.shell.transfer.leadAlone(number, in: memory) }
      domain.shell.tables.bindTransfer(stub, in: memory)
    }
  }

  /// Refuses transfers to an environment's gates while it is stopped, or lets them through again. Returns go on: they bring
  /// back nothing but what is its own.
  mutating func hold(gatesOf id: EnvironmentID, _ isHeld: Bool) {
    guard let domain = domains[id] else { return }
    for key in domain.connections.values {
      guard let connection = connections[key], connection.isOpen, connection.isLocal,
        connection.callee?.environment == id, let caller = connection.caller
      else { continue }
      connections[key]?.isHeld = isHeld
      setSlot(caller, to: isHeld ? nil : connection.callee, as: .called)
    }
  }

  /// Keeps out what is returned to an environment, or lets it in again. Whoever brings it is refused.
  mutating func hold(returnsTo id: EnvironmentID, _ isHeld: Bool) {
    guard let domain = domains[id] else { return }
    domains[id]?.returnsAreHeld = isHeld
    for key in domain.connections.values {
      guard let connection = connections[key], connection.isOpen, connection.isLocal,
        connection.caller?.environment == id, let callee = connection.callee
      else { continue }
      setSlot(callee, to: isHeld ? nil : connection.caller, as: .returned)
    }
  }

  /// Ends a connection: no transfer comes through it when this returns. Each end keeps its number and the page.
  mutating func close(_ key: UInt32, by closer: EnvironmentID? = nil) {
    guard let connection = connections[key], connection.isOpen else { return }
    connections[key]?.isOpen = false
    for end in connection.ends {
      if trace.wants(.gate) { trace.record(.disconnected(number: UInt32(end.number)), of: end.environment) }
      if connection.isLocal { setSlot(end, to: nil) }
      publishPeer(.closed, to: end)
      if end.environment != closer, connection.gate != nil {
        signals.append(
          (
            end.environment,
            Event(kind: .gate, data: UInt32(end.number), value: UInt64(EXO_GATE_CLOSED))
          ))
      }
    }
  }
  mutating func closeConnections(to gate: UInt32) {
    for (key, connection) in connections where connection.gate == gate { close(key) }
  }
  /// What an environment was entered by before it ran on a virtual processor of its own.
  mutating func closeReadiness(of id: EnvironmentID) {
    guard let key = domains[id]?.readiness?.connection else { return }
    close(key)
  }
  /// Those that stood on a capability that is no more.
  mutating func closeConnections(standingOn handle: CapabilityHandle, in id: EnvironmentID) {
    for key in domains[id]?.connections.values.map({ $0 }) ?? [] {
      if let connection = connections[key], connection.handle == handle,
        connection.caller?.environment == id
      {
        close(key)
      }
    }
  }

  /// Lets go of one end: its number is free, its page gone.
  mutating func disconnect(_ number: Int, in id: EnvironmentID) throws(Refusal) {
    guard let key = domains[id]?.connections[number] else { throw .absent }
    close(key, by: id)
    release(key, number, in: id)
  }
  /// At an environment's end.
  mutating func disconnectAll(of id: EnvironmentID) {
    for (number, key) in domains[id]?.connections ?? [:] {
      close(key, by: id)
      release(key, number, in: id)
    }
    guard domains[id]?.entry != nil else { return }
    releaseBindings(1, of: id)
    domains[id]?.entry = nil
  }

  private mutating func release(_ key: UInt32, _ number: Int, in id: EnvironmentID) {
    guard let connection = connections[key], let domain = domains[id] else { return }
    let end = Connection.End(environment: id, number: number)
    publishPeer(.none, to: end)
    domains[id]?.connections[number] = nil
    if connection.isLocal { chooseStub(of: id) }
    if let slot = linesSlot(number, of: domain.shell) {
      _ = memory.exchange(slot, PageTableEntry.empty.bits)
      forget([connection.lines], in: id)
    }
    if connection.caller == end {
      connections[key]?.caller = nil
      uncharge(1, of: id)
      releaseBindings(1, of: id)
    } else {
      connections[key]?.callee = nil
    }
    if connections[key]?.ends.isEmpty ?? true {
      connections[key] = nil
      frames.retire(connection.lines)
      retired.append(connection.lines)
    }
  }

  /// The environment at the other end, and what the connection is called there.
  func peer(_ number: Int, of id: EnvironmentID) throws(Refusal) -> Connection.End {
    guard let key = domains[id]?.connections[number], let connection = connections[key] else { throw .absent }
    guard connection.isOpen, let peer = connection.peer(of: id) else { throw .brokenPipe }
    return peer
  }
}
