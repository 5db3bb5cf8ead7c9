import ExoABI

/// The part of the invariants about control transfer: where a slot may lead, and what the frame may say.
extension Kernel {
  func checkTransfer(of domain: Domain, _ id: EnvironmentID, _ wrong: inout [String]) {
    let page = domain.shell.transfer
    let root = domain.shell.space.root.address
    guard domain.entry != nil else {
      if !domain.connections.isEmpty { wrong.append("\(id) has connections and no entry") }
      return
    }
    for number in 0...TransferPage.connections {
      let badge = page.badge(number, in: memory)
      let own = domain.connections[number].flatMap { connections[$0] }
      var expected = TransferPage.badge(.refused, number, at: root)
      if let own, own.isOpen, own.isLocal, let peer = own.peer(of: id), let other = domains[peer.environment],
        !(own.isHeld && own.caller?.environment == id),
        !(other.returnsAreHeld && own.callee?.environment == id)
      {
        let kind: TransferPage.Kind = own.caller?.environment == id ? .called : .returned
        expected = TransferPage.badge(kind, peer.number, at: other.shell.space.root.address)
      }
      if badge != expected {
        wrong.append(
          "\(id), slot \(number): leads to \(hexadecimal(badge)), should to \(hexadecimal(expected))")
      }
    }
    switch domain.transferStub {
    case .alone(let number):
      if localConnections(of: domain) != [number] || keys == .on {
        wrong.append("\(id) leaves as if by \(number) alone")
      }
      if page.loadAlone(in: memory) != page.badge(number, in: memory) {
        wrong.append("\(id): its only connection leads elsewhere")
      }
    case .selecting: if keys == .on { wrong.append("\(id) leaves with its keys") }
    case .forgettingKeys: if keys != .on { wrong.append("\(id) leaves as if there were keys") }
    }
    // Where an environment left is its own affair; that it left from ring 3 is not.
    let words = page.words(in: memory)
    if words[0] > UInt64(EXO_USER_LIMIT) || words[1] != UInt64(EXO_USER_CS) || words[4] & 3 != 3 {
      wrong.append("\(id) is entered by \(words.map(hexadecimal))")
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
        if let gate = connection.gate {
          if gates[gate]?.owner != connection.callee?.environment {
            wrong.append("connection \(key): its gate is gone")
          }
        } else if connection.callee.flatMap({ domains[$0.environment]?.readiness?.connection }) != key {
          wrong.append("connection \(key) leads to what is not ready")
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
