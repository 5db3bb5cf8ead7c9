import ExoABI

/// The part of the invariants about control transfer: where a slot may lead, and what a frame may say.
extension Kernel {
  func checkTransfer(of domain: Domain, _ id: EnvironmentID, _ wrong: inout [String]) {
    let page = domain.shell.transfer
    let root = domain.shell.space.root.address.value
    guard let entry = domain.entry else {
      if !domain.connections.isEmpty { wrong.append("\(id) has connections and no entry") }
      return
    }
    for number in 0...TransferPage.connections {
      let led = page.leads(number, in: memory)
      let own = domain.connections[number].flatMap { connections[$0] }
      var expected = (root, TransferPage.connections)
      if let own, own.isOpen, own.isLocal, let peer = own.peer(of: id), let other = domains[peer.environment],
        !(own.isHeld && own.caller?.environment == id),
        !(other.returnsAreHeld && own.callee?.environment == id)
      {
        expected = (other.shell.space.root.address.value, peer.number)
      }
      if led != expected { wrong.append("\(id), slot \(number): leads to \(led), should to \(expected)") }
      guard let own, own.isLocal else { continue }
      let kind: TransferPage.Kind = own.caller?.environment == id ? .returned : .called
      let words = page.words(ofFrame: number, in: memory)
      let badge = kind.badge(gate: own.gate, number: number)
      if words != [entry.value, UInt64(EXO_USER_CS), 0x202, badge, UInt64(EXO_USER_SS)] {
        wrong.append("\(id), frame \(number): \(words.map(hexadecimal))")
      }
    }
    let refusal = page.words(ofFrame: TransferPage.connections, in: memory)
    if refusal[0] != entry.value || refusal[1] != UInt64(EXO_USER_CS) {
      wrong.append("\(id): refusals return to \(refusal.map(hexadecimal))")
    }
  }

  /// Those whose page and binding an environment is charged for.
  func connections(madeBy id: EnvironmentID) -> Int {
    connections.values.count { $0.caller?.environment == id }
  }

  /// Both ends agree, and a connection stands on a gate and a capability.
  func checkConnections(_ wrong: inout [String]) {
    for (key, connection) in connections {
      for end in connection.ends where domains[end.environment]?.connections[end.number] != key {
        wrong.append("connection \(key): \(end.environment) does not know it as \(end.number)")
      }
      if connection.isOpen {
        if connection.ends.count != 2 { wrong.append("connection \(key) is open with one end") }
        if gates[connection.gate]?.owner != connection.callee?.environment {
          wrong.append("connection \(key): its gate is gone")
        }
        if let caller = connection.caller?.environment,
          (try? capabilities.lookup(connection.handle, in: caller)) == nil
        {
          wrong.append("connection \(key): its capability is gone")
        }
      }
    }
    for (number, gate) in gates where capabilities.owner(of: .gate(number)) != gate.owner {
      wrong.append("gate \(number) is not \(gate.owner)'s")
    }
    for (id, domain) in domains {
      for (number, key) in domain.connections
      where connections[key]?.ends.contains(.init(environment: id, number: number)) != true {
        wrong.append("\(id): its connection \(number) is nowhere")
      }
    }
  }
}
