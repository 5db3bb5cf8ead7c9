import ExoABI

/// Entries, gates, and connecting to them.
extension Kernel {
  /// Binds the protected entry context: where this environment is entered by the peers of its connections.
  mutating func bindEntry(_ entry: GuestAddress?, in id: EnvironmentID) throws(Refusal) {
    guard let domain = domains[id] else { throw .absent }
    guard let entry else {
      guard domain.entry != nil else { throw .absent }
      guard domain.connections.isEmpty, !gates.values.contains(where: { $0.owner == id }) else { throw .busy }
      domain.latch.hold { domain.shell.tables.unbind(.overflow, in: memory) }
      releaseBindings(1, of: id)
      domains[id]?.entry = nil
      return
    }
    guard domain.exceptionStacks[ExceptionVector.overflow.stackSlot]?.vectors.contains(.overflow) != true
    else { throw .busy }
    guard !domain.hasSystemCall else { throw .busy }
    guard domain.shell.space.allows([.read, .execute], entry, count: 1, memory: memory) else {
      throw .badAddress
    }
    if domain.entry == nil { try chargeBindings(1, to: id) }
    let isNew = domain.entry == nil
    let stub = keys == .on ? TransferPage.Stub.forgettingKeys : .selecting
    if isNew { domains[id]?.transferStub = stub }
    domain.latch.hold {
      if isNew {
        domain.shell.transfer.initialize(root: domain.shell.space.root.address, entry: entry, in: memory)
        domain.shell.tables.bindTransfer(stub, in: memory)
      } else {
        domain.shell.transfer.reset(to: entry, in: memory)
      }
    }
    domains[id]?.entry = entry
  }

  mutating func createGate(in id: EnvironmentID) throws(Refusal) -> (CapabilityHandle, number: UInt32) {
    // A gate leads to an entry.
    guard domains[id]?.entry != nil else { throw .absent }
    try chargeBindings(1, to: id)
    let number = newGateNumber()
    do {
      let handle = try capabilities.mint(Authority(.gate(number), Resource.Kind.gate.rights), in: id)
      gates[number] = Gate(owner: id)
      if trace.wants(.gate) { trace.record(.gateMade(number), of: id) }
      return (handle, number)
    } catch {
      releaseBindings(1, of: id)
      throw Refusal(error)
    }
  }

  /// Makes a way to the environment behind a gate and back. Its number is the caller's; the callee learns its own by an event.
  mutating func connect(
    _ handle: CapabilityHandle, in id: EnvironmentID
  ) throws(Refusal) -> (number: Int, isLocal: Bool) {
    // May the environment call there?
    let resource: Resource
    do { resource = try capabilities.lookup(handle, in: id, kind: .gate, rights: .call) } catch {
      throw Refusal(error)
    }
    guard case .gate(let gate) = resource, let owner = gates[gate]?.owner else { throw .badCapability }
    guard owner != id else { throw .invalid }
    let (number, other, isLocal) = try join(id, to: owner, through: gate, standingOn: handle)
    let told =
      UInt64(EXO_GATE_CONNECTED) | UInt64(gate) << 8 | (isLocal ? UInt64(EXO_GATE_LOCAL) : 0)
    signals.append((owner, Event(kind: .gate, data: UInt32(other), value: told)))
    return (number, isLocal)
  }

  /// Makes a connection, and tells nobody. Returns what either end calls it.
  mutating func join(
    _ id: EnvironmentID, to owner: EnvironmentID, through gate: UInt32?, standingOn handle: CapabilityHandle
  ) throws(Refusal) -> (caller: Int, callee: Int, isLocal: Bool) {
    // It is answered at its own entry.
    guard let caller = domains[id], let callee = domains[owner], caller.entry != nil, callee.entry != nil
    else { throw .absent }
    guard let number = caller.freeConnection, let other = callee.freeConnection else { throw .noSpace }
    try chargeBindings(1, to: id)
    do throws(Refusal) {
      if frames.freeCount < 1 { reclaim() }
      try charge(1, to: id)
    } catch {
      releaseBindings(1, of: id)
      throw error
    }
    guard let (lines, _) = frames.allocate(upTo: 1, kind: .kit, owner: EnvironmentID(0)) else {
      uncharge(1, of: id)
      releaseBindings(1, of: id)
      throw .noMemory
    }
    publishFreeCount()
    let connection = Connection(
      gate: gate, handle: handle, lines: lines, isLocal: caller.processor == callee.processor,
      caller: .init(environment: id, number: number), callee: .init(environment: owner, number: other))
    let key = newConnectionNumber()
    connections[key] = connection
    for end in connection.ends {
      domains[end.environment]?.connections[end.number] = key
      bindLines(of: connection, at: end)
      publishGate(gate ?? 0, to: end)
      publishPeer(.runnable, to: end, isNew: true)
    }
    if connection.isLocal {
      // From here on each may be in the other's address space.
      for domain in [caller, callee] { domain.latch.join() }
      for end in connection.ends { chooseStub(of: end.environment) }
      lead(connection)
    }
    newlyConnected += [id, owner]
    if trace.wants(.gate) {
      trace.record(.connected(to: owner, gate: gate ?? 0, number: UInt32(number)), of: id)
    }
    return (number, other, connection.isLocal)
  }

  /// The kit's page of this connection. The table for it exists, with the rest of the kit.
  private func bindLines(of connection: Connection, at end: Connection.End) {
    guard let domain = domains[end.environment], let slot = linesSlot(end.number, of: domain.shell) else {
      return
    }
    memory.store(Self.kitEntry(connection.lines.address, [.read, .write]).bits, slot)
  }
  func linesSlot(_ number: Int, of shell: Shell) -> PhysicalAddress? {
    shell.space.slot(of: GuestAddress(exo_kit_lines + UInt64(number) << 12), in: memory)
  }
}

extension Domain {
  fileprivate var freeConnection: Int? {
    (0..<TransferPage.connections).first { connections[$0] == nil }
  }
}
