/// What must hold of claims, templates and packet rings.
extension Kernel {
  func checkNetwork(_ wrong: inout [String]) {
    network.withState { state in
      for (number, authority) in state.authorities {
        let resources: [Resource] = [.filter(number), .transmit(number)]
        guard let resource = resources.first(where: { capabilities.roots[$0] != nil }) else {
          wrong.append("packet authority \(number) belongs to nobody")
          continue
        }
        if capabilities.owner(of: resource) != authority.owner {
          wrong.append("\(resource) is not its owner's")
        }
        for handle in authority.standsOn where (try? capabilities.lookup(handle, in: authority.owner)) == nil
        {
          wrong.append("\(resource) stands on a capability that is no more")
        }
      }
      let claims = state.authorities.count { $0.value.binding != nil }
      if claims != state.boundCount {
        wrong.append("\(claims) claims, \(state.boundCount) filters deliver")
      }
      if !state.areDependentsKnown { wrong.append("what stands on a capability is not known of each") }
      if !state.areHandlersCounted { wrong.append("compiled handlers are miscounted") }
      for (owner, region) in state.handlerRegions {
        let name = "a handler's region at \(region.start)"
        guard let owner, let held = try? capabilities.lookup(region.handle, in: owner),
          case .frames(let run) = held.resource, held.rights.memory.isSuperset(of: [.read, .write])
        else {
          wrong.append("\(name) is nobody's")
          continue
        }
        let first = frame(at: region.start)
        if first.map({ $0.number < run.first || Int($0.number) + region.size >> 12 > Int(run.end) }) ?? true {
          wrong.append("\(name) is not what its capability is for")
        }
        if domains[owner]?.handlerRegions.contains(region.handle) != true {
          wrong.append("\(name) would stay when its capability goes")
        }
      }
      for (id, number) in state.ringKeys where domains[id]?.packetRings[number] == nil {
        wrong.append("packet ring \(number) of \(id) has no pages")
      }
      let rings = domains.values.reduce(0) { $0 + $1.packetRings.count }
      if rings != state.ringKeys.count {
        wrong.append("\(state.ringKeys.count) packet rings, \(rings) bound")
      }
    }
  }
}
