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
      let claims = state.authorities.values.count { $0.binding != nil }
      if claims != state.boundCount {
        wrong.append("\(claims) claims, \(state.boundCount) filters deliver")
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
