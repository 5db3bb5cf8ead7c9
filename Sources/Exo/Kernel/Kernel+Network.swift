import ExoABI

/// Who may claim and send which packets.
///
/// Whoever claims packets needs a capability to a filter that matches all of them, with the right `call`; so the holder of a
/// claim may hand on some of it, or consent to an overlap, by granting a capability to it. Where a claim overlaps one of
/// another environment's without that, it is refused. Overlap is judged among what is delivered by, and once: later it
/// is the most specific filter that gets the packet.
extension Kernel {
  // --- rings

  mutating func bindPacketRing(_ address: GuestAddress, slots: Int, in id: EnvironmentID) throws(Refusal)
    -> Int
  {
    guard let domain = domains[id] else { throw .absent }
    guard let number = (0..<Int(EXO_PACKET_RINGS)).first(where: { domain.packetRings[$0] == nil }) else {
      throw .noSpace
    }
    let pages = PacketRing.pages(slots: slots)
    guard domain.shell.space.allows([.read, .write], address, count: pages << 12, memory: memory) else {
      throw .badAddress
    }
    try requireOwned(address, pages: pages, in: id)
    let frames = (0..<pages).compactMap {
      frame(at: domain.shell.space.entry(of: address.advanced(byPages: $0), in: memory).address)
    }
    guard frames.count == pages else { throw .absent }
    try chargeBindings(1, to: id)
    pin(address, pages: pages, in: domain)
    domains[id]?.packetRings[number] = PacketRingPages(address: address, count: pages)
    let ring = PacketRing(owner: id, number: number, slots: slots, frames: frames)
    network.withState { $0.addRing(ring) }
    return number
  }

  /// When this returns nothing more is written to the ring and nothing more is sent from it.
  mutating func unbindPacketRing(_ number: Int, in id: EnvironmentID) throws(Refusal) {
    guard let domain = domains[id], let pages = domain.packetRings[number] else { throw .absent }
    let claims = network.withState { $0.removeRing(number, of: id) }
    domains[id]?.packetRings[number] = nil
    unpin(pages.address, pages: pages.count, in: domain)
    releaseBindings(1, of: id)
    for claim in claims { withdraw(.filter(claim)) }
  }

  /// At an environment's end, before its frames go. Returns how many bindings they were.
  mutating func closePacketRings(of id: EnvironmentID) -> Int {
    guard let rings = domains[id]?.packetRings, !rings.isEmpty else { return 0 }
    // Its claims go with its capabilities.
    for number in rings.keys { _ = network.withState { $0.removeRing(number, of: id) } }
    domains[id]?.packetRings = [:]
    return rings.count
  }

  // --- claims

  mutating func installFilter(
    at address: GuestAddress, in id: EnvironmentID
  ) throws(Refusal) -> (handle: CapabilityHandle, number: UInt32) {
    let claim = try ClaimDescription(try copyIn(address, count: MemoryLayout<exo_claim>.size, of: id))
    let (_, parent) = try networkAuthority(claim.parent, .filter, in: id)
    guard parent.covers(claim.filter) else { throw .notPermitted }
    var consented: [UInt32] = []
    for handle in claim.consents { consented.append(try networkAuthority(handle, .filter, in: id).number) }
    // What it claims under has consented already.
    consented.append(try networkAuthority(claim.parent, .filter, in: id).number)
    let authority = NetworkAuthority(
      filters: [claim.filter], owner: id, standsOn: [claim.parent] + claim.consents, isCharged: true)
    try network.withState { (state) throws(Refusal) in
      guard state.slot(of: claim.ring, id) != nil else { throw .absent }
      guard !state.isClaimed(claim.filter, besides: id, consented) else { throw .exists }
    }
    let (handle, number) = try make(authority, .filter, in: id)
    do {
      try network.withState { (state) throws(Refusal) in
        guard let slot = state.slot(of: claim.ring, id) else { throw .absent }
        try state.bind(number, to: slot)
      }
    } catch {
      withdraw(.filter(number))
      throw error
    }
    return (handle, number)
  }

  // --- templates

  mutating func deriveTemplate(
    _ handle: CapabilityHandle, stepsAt address: GuestAddress, count: Int, in id: EnvironmentID
  ) throws(Refusal) -> (handle: CapabilityHandle, number: UInt32) {
    let (_, parent) = try networkAuthority(handle, .transmit, in: id)
    let bytes = try copyIn(address, count: count * MemoryLayout<exo_filter_step>.stride, of: id)
    let filter = try Filter(described: bytes[...])
    guard parent.covers(filter) else { throw .notPermitted }
    return try make(
      NetworkAuthority(filters: [filter], owner: id, standsOn: [handle], isCharged: true), .transmit, in: id)
  }

  func bindTemplate(_ handle: CapabilityHandle, to ring: Int, in id: EnvironmentID) throws(Refusal) {
    let (_, template) = try networkAuthority(handle, .transmit, in: id)
    try network.withState { (state) throws(Refusal) in
      guard let slot = state.slot(of: ring, id) else { throw .absent }
      try state.bind(template, handle, to: slot)
    }
  }

  // --- steps

  /// Gives an environment what it may claim or send at most. It is no binding of its quota.
  mutating func admit(
    _ id: EnvironmentID, _ kind: Resource.Kind, _ filters: [Filter]
  ) throws(Refusal) -> CapabilityHandle {
    try make(NetworkAuthority(filters: filters, owner: id), kind, in: id).handle
  }

  private mutating func make(
    _ authority: NetworkAuthority, _ kind: Resource.Kind, in id: EnvironmentID
  ) throws(Refusal) -> (handle: CapabilityHandle, number: UInt32) {
    if authority.isCharged { try chargeBindings(1, to: id) }
    let number = network.withState { $0.add(authority) }
    do {
      let resource: Resource = kind == .filter ? .filter(number) : .transmit(number)
      return (try capabilities.mint(Authority(resource, kind.rights), in: id), number)
    } catch {
      _ = network.withState { $0.remove(number) }
      if authority.isCharged { releaseBindings(1, of: id) }
      throw Refusal(error)
    }
  }

  private func networkAuthority(
    _ handle: CapabilityHandle, _ kind: Resource.Kind, in id: EnvironmentID
  ) throws(Refusal) -> (number: UInt32, authority: NetworkAuthority) {
    let resource: Resource
    do { resource = try capabilities.lookup(handle, in: id, kind: kind, rights: .call) } catch {
      throw Refusal(error)
    }
    switch resource {
    case .filter(let number), .transmit(let number):
      guard let authority = network.withState({ $0.authorities[number] }) else { throw .absent }
      return (number, authority)
    default: throw .badCapability
    }
  }

  func copyIn(
    _ address: GuestAddress, count: Int, of id: EnvironmentID
  ) throws(Refusal) -> [UInt8] {
    var bytes: [UInt8] = []
    guard domains[id]?.shell.space.copyIn(address, count: count, memory: memory, to: &bytes) ?? false else {
      throw .badAddress
    }
    return bytes
  }

  private mutating func withdraw(_ resource: Resource) {
    for removed in capabilities.withdraw(resource) { breakBindings(of: removed) }
  }

  /// A capability to a filter or a template is no more. What stood on it goes; with the first one, so does what it named.
  mutating func breakNetwork(of removed: CapabilitySpace.Removed) {
    let number: UInt32
    switch removed.authority.resource {
    case .filter(let filter): number = filter
    case .transmit(let template): number = template
    default: return
    }
    let dependent = network.withState { state in
      state.unbindTemplates(removed.handle, of: removed.environment)
      return state.dependents(on: removed.handle, of: removed.environment)
    }
    if removed.isRoot, let gone = network.withState({ $0.remove(number) }), gone.isCharged {
      releaseBindings(1, of: removed.environment)
    }
    for other in dependent {
      withdraw(removed.authority.resource.kind == .filter ? .filter(other) : .transmit(other))
    }
  }
}

/// Where a packet ring lies, in pages that stay.
struct PacketRingPages: Hashable {
  var address: GuestAddress
  var count: Int
}

/// A claim as an environment writes it (`struct exo_claim`), decoded once.
private struct ClaimDescription {
  let parent: CapabilityHandle
  let consents: [CapabilityHandle]
  let ring: Int
  let filter: Filter

  init(_ bytes: [UInt8]) throws(Refusal) {
    func number(_ offset: Int, _ width: Int) -> UInt64 {
      (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
    }
    let consents = Int(EXO_CLAIM_CONSENTS)
    parent = CapabilityHandle(rawValue: number(0, 8))
    self.consents = (0..<consents).map { number(8 + $0 * 8, 8) }.filter { $0 != 0 }
      .map { CapabilityHandle(rawValue: $0) }
    let tail = 8 + consents * 8
    ring = Int(number(tail, 4))
    let steps = Int(number(tail + 4, 4))
    guard steps <= Int(EXO_FILTER_STEPS) else { throw .invalid }
    let size = MemoryLayout<exo_filter_step>.stride
    filter = try Filter(described: bytes[tail + 8..<tail + 8 + steps * size])
  }
}
