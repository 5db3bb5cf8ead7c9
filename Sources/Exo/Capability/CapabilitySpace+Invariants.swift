extension CapabilitySpace {
  /// Each way in which the space is not as it should be; empty when all is well. Looks at everything.
  func checkInvariants() -> [String] {
    var wrong = faults + quotas.checkInvariants()
    var entries = 0
    for (environment, place) in places {
      let table = tables[place]
      var live = 0
      for id in table.nodes {
        live += 1
        wrong += checkEntry(id, of: environment, in: table)
      }
      entries += live
      if live != table.count { wrong.append("\(environment): \(live) entries counted as \(table.count)") }
      let charged = quotas.account(of: environment)?.used.capabilities
      if charged != UInt64(live) {
        wrong.append("\(environment): \(live) entries charged as \(charged.map(String.init) ?? "none")")
      }
    }
    // Entries are distinct nodes (each names its own handle), so equal counts mean that no node is out of reach.
    if entries != tree.count { wrong.append("\(entries) entries for \(tree.count) capabilities") }
    return wrong + checkRoots()
  }

  private func checkEntry(_ id: CapabilityNode.ID, of environment: EnvironmentID, in table: CapabilityTable)
    -> [String]
  {
    var wrong: [String] = []
    let node = tree[id]
    let name = "\(node.handle) of \(environment), \(node.authority)"
    if node.environment != environment { wrong.append("\(name): belongs to \(node.environment)") }
    if (try? table.resolve(node.handle)) != id { wrong.append("\(name): not what its handle names") }
    if !node.authority.rights.isSubset(of: node.authority.resource.kind.rights) {
      wrong.append("\(name): meaningless rights")
    }
    if node.isRoot {
      if roots[node.authority.resource] != id { wrong.append("\(name): a root that is not known as one") }
    } else {
      let parent = tree[node.parent]
      if !dominates(parent.authority, node.authority) {
        wrong.append("\(name): more than \(parent.authority)")
      }
      if parent.serial >= node.serial { wrong.append("\(name): older than what it was derived from") }
    }
    var previous = CapabilityNode.ID.none
    for child in tree.children(of: id) {
      if tree[child].parent != id { wrong.append("\(name): a child with another parent") }
      if tree[child].previous != previous { wrong.append("\(name): its children are wrongly linked") }
      previous = child
    }
    if case .frames(let run) = node.authority.resource {
      for frame in [run.first, run.end - 1] {
        if !holdsFrame(Frame(frame), node.authority.rights.memory, in: environment) {
          wrong.append("\(name): frame \(frame) is not in the index")
        }
      }
    }
    return wrong
  }

  /// No object has two owners.
  private func checkRoots() -> [String] {
    var wrong: [String] = []
    for (resource, id) in roots {
      if tree[id].authority.resource != resource { wrong.append("\(resource): its root is another object's") }
      if !tree[id].isRoot { wrong.append("\(resource): its root was derived") }
    }
    let ordered = roots.keys.sorted { $0.position < $1.position }
    for (resource, following) in zip(ordered, ordered.dropFirst()) where resource.overlaps(following) {
      wrong.append("\(resource) and \(following) overlap and have an owner each")
    }
    return wrong
  }
}

extension Resource {
  /// Kind, space within the kind, first object: in this order, objects that overlap follow one another.
  fileprivate var position: (UInt32, UInt32, UInt64) {
    switch self {
    case .frames(let run): (kind.rawValue, 0, UInt64(run.first))
    case .addressSpace(let environment), .environment(let environment): (kind.rawValue, environment.number, 0)
    case .gate(let number), .event(let number), .filter(let number), .region(let number),
      .transmit(let number):
      (kind.rawValue, number, 0)
    case .slices(let processor, let run): (kind.rawValue, processor, UInt64(run.first))
    case .extent(let disk, let run): (kind.rawValue, disk, run.first)
    }
  }
}
