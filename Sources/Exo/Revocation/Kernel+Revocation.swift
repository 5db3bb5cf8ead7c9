import ExoABI

/// Visible revocation: asking, counting what is given, and taking the rest.
extension Kernel {
  /// Asks an environment for some of what it has. What it has not used is taken at once. Returns how much, if that was all.
  mutating func ask(
    _ id: EnvironmentID, for kind: Resource.Kind, _ amount: UInt64, by deadline: UInt64,
    asker: Revocation.Asker
  ) throws(Refusal) -> UInt64? {
    guard Revocation.isRevocable(kind), amount > 0 else { throw .invalid }
    guard let domain = domains[id] else { throw .absent }
    guard domain.revocation == nil else { throw .busy }
    domains[id]?.revocation = Revocation(kind: kind, amount: amount, deadline: deadline, asker: asker)
    takeUnused(from: id)
    let owed = domains[id]?.revocation?.owed ?? 0
    if trace.wants(.revocation) {
      trace.record(.askedBack(kind: kind.rawValue, owed: owed, by: asker.environment), of: id)
    }
    guard let asked = domains[id]?.revocation, asked.owed > 0 else {
      domains[id]?.revocation = nil
      if trace.wants(.revocation) {
        trace.record(.gaveBack(kind: kind.rawValue, given: amount, taken: 0), of: id)
      }
      return amount
    }
    publishRevocation(of: id)
    signals.append((id, Event(kind: .revocation, data: kind.rawValue, value: asked.owed)))
    return nil
  }

  /// Counts what an environment has left of a quota as given, and lowers the quota by it.
  private mutating func takeUnused(from id: EnvironmentID) {
    guard let asked = domains[id]?.revocation, asked.owed > 0, let quota = Revocation.quota(of: asked.kind)
    else { return }
    let unused = min(asked.owed, capabilities.quotas.account(of: id)?.available(quota) ?? 0)
    guard unused > 0 else { return }
    capabilities.quotas.shrink(id, by: unused, quota)
    domains[id]?.revocation?.given += unused
  }

  /// Called whenever an environment may have less than before.
  mutating func settleRevocation(of id: EnvironmentID) {
    guard domains[id]?.revocation != nil else { return }
    takeUnused(from: id)
    finishRevocation(of: id, ifPaid: true)
  }
  /// Slots of a slice vector were given up, which no quota counts.
  mutating func creditSlices(_ count: Int, to id: EnvironmentID) {
    guard let asked = domains[id]?.revocation, asked.kind == .slices else { return }
    domains[id]?.revocation?.given += min(asked.owed, UInt64(count))
    finishRevocation(of: id, ifPaid: true)
  }

  private mutating func finishRevocation(of id: EnvironmentID, ifPaid: Bool) {
    guard let asked = domains[id]?.revocation, !ifPaid || asked.owed == 0, !isRepossessing else {
      publishRevocation(of: id)
      return
    }
    domains[id]?.revocation = nil
    publishRevocation(of: id)
    if trace.wants(.revocation) {
      trace.record(.gaveBack(kind: asked.kind.rawValue, given: asked.given, taken: asked.taken), of: id)
    }
    answers.append((asked.asker, asked.given, asked.taken))
  }

  /// At an environment's end it has given back everything.
  mutating func endRevocation(of id: EnvironmentID) {
    guard let owed = domains[id]?.revocation?.owed else { return }
    domains[id]?.revocation?.given += owed
    finishRevocation(of: id, ifPaid: true)
  }

  /// The abort protocol: past its deadline, takes what is owed. What has a guaranteed mapping stays, for without it the
  /// environment could not even be told.
  mutating func repossess(_ id: EnvironmentID, at now: UInt64) {
    guard let asked = domains[id]?.revocation, asked.deadline <= now else { return }
    if trace.wants(.revocation) {
      trace.record(.aborted(kind: asked.kind.rawValue, owed: asked.owed), of: id)
    }
    isRepossessing = true
    for (handle, resource) in victims(of: id, asked.kind) {
      guard let still = domains[id]?.revocation, still.owed > 0 else { break }
      let given = still.given
      guard (try? drop(handle, in: id)) != nil else { continue }
      record(resource, takenFrom: id)
      // What dropping it counted as given was taken.
      let counted = (domains[id]?.revocation?.given ?? given) - given
      domains[id]?.revocation?.given -= counted
      domains[id]?.revocation?.taken += counted
    }
    isRepossessing = false
    finishRevocation(of: id, ifPaid: false)
  }

  /// First capabilities of a kind, those first that are missed least: not mapped, then youngest.
  private func victims(
    of id: EnvironmentID, _ kind: Resource.Kind
  ) -> [(handle: CapabilityHandle, resource: Resource)] {
    var found: [(handle: CapabilityHandle, resource: Resource, isMapped: Bool, age: UInt64)] = []
    for (handle, authority) in capabilities.entries(of: id) where authority.resource.kind == kind {
      guard let root = capabilities.roots[authority.resource], capabilities.tree[root].handle == handle,
        capabilities.tree[root].environment == id
      else { continue }
      guard isTakable(authority.resource) else { continue }
      var isMapped = false
      if case .frames(let run) = authority.resource {
        isMapped = (run.first..<run.end).contains { !frames.mappings(of: Frame($0)).isEmpty }
      }
      found.append((handle, authority.resource, isMapped, capabilities.tree[root].serial))
    }
    return found.sorted { $0.isMapped == $1.isMapped ? $0.age > $1.age : !$0.isMapped }
      .map { ($0.handle, $0.resource) }
  }

  /// Not what the machine's owner admitted an environment to: that is no binding of its, and all its claims would go with it.
  private func isTakable(_ resource: Resource) -> Bool {
    switch resource {
    case .filter(let number), .transmit(let number):
      network.withState { $0.authorities[number]?.isCharged } ?? false
    default: true
    }
  }

  // --- what the environment reads

  private func startField(_ id: EnvironmentID, _ offset: Int) -> PhysicalAddress? {
    domains[id].map { PhysicalAddress($0.shell.start.address.value + UInt64(offset)) }
  }

  private func publishRevocation(of id: EnvironmentID) {
    guard let domain = domains[id], let field = startField(id, Int(EXO_REVOCATION_OFFSET)) else { return }
    let asked = domain.revocation
    let words: [UInt64] = [
      UInt64(asked?.kind.rawValue ?? 0) | UInt64(domain.repossessions) << 32, asked?.amount ?? 0,
      (asked?.given ?? 0) + (asked?.taken ?? 0), asked?.deadline ?? 0,
    ]
    for (i, word) in words.enumerated() { memory.store(word, PhysicalAddress(field.value + UInt64(i) * 8)) }
  }

  /// Adds an entry to the repossession vector.
  private mutating func record(_ resource: Resource, takenFrom id: EnvironmentID) {
    guard let number = domains[id]?.repossessions else { return }
    let (first, count) = resource.names
    if trace.wants(.revocation) {
      trace.record(.repossessed(kind: resource.kind.rawValue, first: first, count: count), of: id)
    }
    let slot = Int(EXO_REPOSSESSED_OFFSET) + Int(number % UInt32(EXO_REPOSSESSED_CAPACITY)) * 16
    guard let field = startField(id, slot) else { return }
    memory.store(UInt64(resource.kind.rawValue) | UInt64(first) << 32, field)
    memory.store(UInt64(count), PhysicalAddress(field.value + 8))
    domains[id]?.repossessions = number &+ 1
    publishRevocation(of: id)
  }
}
