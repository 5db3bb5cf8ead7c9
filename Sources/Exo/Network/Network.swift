import ExoABI
import Synchronization

/// The machine's network: whose packets are whose, who may send what, and a switch between the environments' rings and a
/// device, if there is one. Everything is behind one lock, which comes after the kernel's.
///
/// A packet is copied out of the sender's buffer before anything is asked of it, and once more into the receiver's. One from a
/// device is copied once.
final class Network: Sendable {
  private let memory: PhysicalMemory
  private let state: Mutex<NetworkState>
  let capture: PacketCapture

  init(memory: PhysicalMemory) {
    self.memory = memory
    let capture = PacketCapture()
    self.capture = capture
    state = Mutex(NetworkState(capture: capture))
  }

  func withState<R, E: Error>(_ body: (inout NetworkState) throws(E) -> R) throws(E) -> R {
    // `withLock` does not carry a typed error of a closure that borrows this way; the result does.
    let result: Result<R, E> = state.withLock { state in
      do throws(E) { return .success(try body(&state)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// What `send` did.
  struct Sent: Equatable {
    var taken = 0
    var refused = 0
    var dropped = 0
    /// Whether the device was given some.
    var wentOut = false
    /// Who wanted to be told, and of which of its rings.
    var told: [(environment: EnvironmentID, ring: Int)] = []

    static func == (a: Sent, b: Sent) -> Bool {
      (a.taken, a.refused, a.dropped) == (b.taken, b.refused, b.dropped)
    }
  }

  /// Sends what a ring holds, at most as much as it has slots.
  func send(_ number: Int, of id: EnvironmentID) throws(Refusal) -> Sent {
    var sent = Sent()
    var outgoing = PacketBatch()
    let device = try withState { (state) throws(Refusal) in
      guard let slot = state.slot(of: number, id) else { throw .absent }
      state.send(from: slot, in: memory, &sent, &outgoing)
      return state.device
    }
    // No lock is held while a device is written to.
    if let device, outgoing.count > 0 {
      sent.dropped += outgoing.count - device.send(outgoing, by: Int(id.number))
      sent.wentOut = true
    }
    return sent
  }

  /// Hands packets of a device to those who claimed them. Returns who wanted to be told.
  /// - Parameter queue: by which they came, and what answers them goes.
  func deliver(_ batch: borrowing PacketBatch, from queue: Int) -> [(environment: EnvironmentID, ring: Int)] {
    var outgoing = PacketBatch()
    let (told, device) = withState { state in
      var told: [(environment: EnvironmentID, ring: Int)] = []
      state.deliver(batch, in: memory, &told)
      state.answer(in: memory, &told, &outgoing)
      return (told, state.device)
    }
    if let device, outgoing.count > 0 { _ = device.send(outgoing, by: queue) }
    return told
  }
}

/// Where packets go that nobody in the machine has claimed.
protocol PacketDevice: AnyObject, Sendable {
  /// Sends without waiting. Returns how many were taken.
  /// - Parameter key: what is sent by the same goes the same way, in the order it was sent.
  func send(_ batch: borrowing PacketBatch, by key: Int) -> Int
}

/// What the network's lock guards, code arenas and tables included: none of it is reached but under the lock.
struct NetworkState: ~Copyable, @unchecked Sendable {
  /// Compiles from the first claim on: a machine that has no use for the network is spared the memory for code.
  private var classifier = PacketClassifier(compiling: false)
  private var isCompiling = false
  private let capture: PacketCapture
  private var rings: [PacketRing?] = []
  /// What each filter in the classifier belongs to, by its number.
  private var bound = SplitDictionary<(authority: UInt32, slot: Int, handler: BoundHandler?)>()
  private var matches = FilterMatches()
  /// Else handlers are interpreted.
  var compilesHandlers = true
  /// Of the handlers in `bound`.
  private var compiledHandlers = 0
  /// What handlers have to say, with the rings they speak for.
  private var replies: [(slot: Int, packet: [UInt8])] = []
  private(set) var authorities = SplitDictionary<NetworkAuthority>()
  /// Which of them stand on a capability of their owner's.
  private var dependents: [Stand: SplitDictionary<Void>] = [:]
  private struct Stand: Hashable { let owner: EnvironmentID, handle: CapabilityHandle }
  private var lastAuthority: UInt32 = 0
  var device: (any PacketDevice)?
  /// Room for the packet that is being sent.
  private var scratch: [UInt8] = []

  /// Most that is claimed at a time, by all environments.
  static let claimLimit = 16_384

  init(capture: PacketCapture = PacketCapture()) { self.capture = capture }

  // --- rings

  func slot(of number: Int, _ id: EnvironmentID) -> Int? {
    rings.firstIndex { $0?.owner == id && $0?.number == number }
  }
  mutating func addRing(_ ring: PacketRing) {
    if let free = rings.firstIndex(where: { $0 == nil }) { rings[free] = ring } else { rings.append(ring) }
  }
  /// Takes a ring out, and whatever delivers to it. Nothing is written to its frames any more. Returns the claims.
  mutating func removeRing(_ number: Int, of id: EnvironmentID) -> [UInt32] {
    guard let slot = slot(of: number, id) else { return [] }
    rings[slot] = nil
    let claims = bound.filter { $0.value.slot == slot }
    for (number, _) in claims { unbind(FilterID(number: number)) }
    return claims.map(\.value.authority)
  }
  mutating func bind(_ template: NetworkAuthority, _ handle: CapabilityHandle, to slot: Int) throws(Refusal) {
    guard let ring = rings[slot] else { throw .absent }
    if ring.templates.contains(where: { $0.handle == handle }) { return }
    guard ring.templates.count < PacketRing.templateLimit else { throw .noSpace }
    rings[slot]?.templates.append((handle, template.filters))
  }
  /// A capability of an environment is no more: nothing is sent on the strength of it.
  mutating func unbindTemplates(_ handle: CapabilityHandle, of id: EnvironmentID) {
    for slot in rings.indices where rings[slot]?.owner == id {
      rings[slot]?.templates.removeAll { $0.handle == handle }
    }
  }

  // --- claims and templates

  mutating func add(_ authority: NetworkAuthority) -> UInt32 {
    lastAuthority += 1
    authorities[lastAuthority] = authority
    for handle in authority.standsOn {
      dependents[Stand(owner: authority.owner, handle: handle), default: SplitDictionary()][lastAuthority] =
        ()
    }
    return lastAuthority
  }
  /// Forgets a claim or a template; what it had bound is unbound.
  mutating func remove(_ number: UInt32) -> NetworkAuthority? {
    guard let authority = authorities.removeValue(forKey: number) else { return nil }
    if let filter = authority.binding { unbind(filter) }
    for handle in authority.standsOn {
      let stand = Stand(owner: authority.owner, handle: handle)
      dependents[stand]?[number] = nil
      if dependents[stand]?.isEmpty ?? false { dependents[stand] = nil }
    }
    return authority
  }
  /// The claims and templates of an environment that stand on a capability of its own, in the order they were made.
  func dependents(on handle: CapabilityHandle, of id: EnvironmentID) -> [UInt32] {
    dependents[Stand(owner: id, handle: handle)]?.map(\.key).sorted() ?? []
  }
  private mutating func unbind(_ filter: FilterID) {
    classifier.remove(filter)
    setHandler(nil, of: filter)
    bound[filter.number] = nil
  }

  /// Whether some packet of a filter is delivered by a claim of another environment's, those apart that have consented.
  func isClaimed(_ filter: Filter, besides id: EnvironmentID, _ consented: [UInt32]) -> Bool {
    classifier.containsOverlapping(filter) { found in
      guard let number = bound[found.number]?.authority else { return false }
      return authorities[number]?.owner != id && !consented.contains(number)
    }
  }
  /// Has what a claim matches delivered to a ring.
  mutating func bind(_ number: UInt32, to slot: Int) throws(Refusal) {
    guard let filter = authorities[number]?.filters.first, rings.indices.contains(slot), rings[slot] != nil
    else { throw .absent }
    guard bound.count < Self.claimLimit else { throw .noSpace }
    if !isCompiling {
      classifier = PacketClassifier()
      isCompiling = true
    }
    let id: FilterID
    do { id = try classifier.insert(filter) } catch { throw .noSpace }
    bound[id.number] = (number, slot, nil)
    authorities[number]?.binding = id
  }

  /// Has a handler run on what a claim matches, or none.
  mutating func bind(_ handler: PacketHandler?, _ region: HandlerRegion?, to number: UInt32) throws(Refusal) {
    guard let id = authorities[number]?.binding, bound[id.number] != nil else { throw .absent }
    setHandler(nil, of: id)
    guard let handler else { return }
    let compiling = compilesHandlers && compiledHandlers < BoundHandler.compiledLimit
    setHandler(BoundHandler(handler, region: region, compiling: compiling), of: id)
  }
  private mutating func setHandler(_ handler: BoundHandler?, of filter: FilterID) {
    if bound[filter.number]?.handler?.code != nil { compiledHandlers -= 1 }
    if handler?.code != nil { compiledHandlers += 1 }
    bound[filter.number]?.handler = handler
  }
  /// An environment's capability is no more: no handler writes to the memory that it was for.
  mutating func unbindHandlers(standingOn handle: CapabilityHandle, of id: EnvironmentID) {
    for (number, claim) in bound
    where claim.handler?.region?.handle == handle && authorities[claim.authority]?.owner == id {
      setHandler(nil, of: FilterID(number: number))
    }
  }

  // --- packets

  mutating func send(
    from slot: Int, in memory: PhysicalMemory, _ sent: inout Network.Sent, _ outgoing: inout PacketBatch
  ) {
    guard let pending = rings[slot]?.pending(in: memory) else { return }
    for _ in 0..<pending {
      scratch.removeAll(keepingCapacity: true)
      var status = EXO_PACKET_REFUSED
      if rings[slot]?.copyNext(to: &scratch, in: memory) ?? false, rings[slot]?.allows(scratch.span) ?? false
      {
        status = EXO_PACKET_SENT
        let packet = scratch[...]
        let route = route(
          packet, of: classifier.classify(packet.span), from: slot, in: memory, &sent.told)
        // Many are meant by a group address, and only one of them can be in the machine.
        let goesOut = takesOut(packet, route)
        if goesOut {
          outgoing.append(packet)
        } else if route != .delivered {
          status = EXO_PACKET_DROPPED
          sent.dropped += 1
        }
        noteUnrouted(packet, from: slot, route, goesOut: goesOut)
      } else {
        capture.take(scratch[...], from: rings[slot]?.owner, to: nil, .refused)
        sent.refused += 1
      }
      rings[slot]?.complete(status, in: memory)
      sent.taken += 1
    }
    rings[slot]?.publishCompleted(in: memory)
    answer(in: memory, &sent.told, &outgoing)
  }

  /// Gives packets of a device to those that claimed them.
  mutating func deliver(
    _ batch: borrowing PacketBatch, in memory: PhysicalMemory,
    _ told: inout [(environment: EnvironmentID, ring: Int)]
  ) {
    // No claim comes or goes meanwhile: that takes the lock that is held.
    classifier.classify(batch, into: &matches)
    for index in 0..<batch.count {
      let packet = batch.packet(index)
      if route(packet, of: matches[index], from: nil, in: memory, &told) == .unclaimed {
        capture.take(packet, from: nil, to: nil, .unclaimed)
      }
    }
  }

  /// Sends what handlers said, if their rings may. No handler runs on it: two of them would answer each other for ever.
  mutating func answer(
    in memory: PhysicalMemory, _ told: inout [(environment: EnvironmentID, ring: Int)],
    _ outgoing: inout PacketBatch
  ) {
    guard !replies.isEmpty else { return }
    for (slot, packet) in replies where rings[slot]?.allows(packet.span) ?? false {
      let filter = classifier.classify(packet.span)
      let route = route(packet[...], of: filter, from: slot, isReply: true, in: memory, &told)
      let goesOut = takesOut(packet[...], route)
      if goesOut { outgoing.append(packet[...]) }
      noteUnrouted(packet[...], from: slot, route, goesOut: goesOut)
    }
    replies.removeAll(keepingCapacity: true)
  }

  /// Whether the device is to have a packet of an environment's.
  private func takesOut(_ packet: ArraySlice<UInt8>, _ route: Route) -> Bool {
    device != nil && (route == .unclaimed || packet[packet.startIndex] & 1 != 0)
  }
  private func noteUnrouted(
    _ packet: ArraySlice<UInt8>, from slot: Int, _ route: Route, goesOut: Bool
  ) {
    guard route == .unclaimed || goesOut else { return }
    capture.take(packet, from: rings[slot]?.owner, to: nil, goesOut ? .device : .unclaimed)
  }

  enum Route { case delivered, full, unclaimed }

  /// Gives a packet to the one whose filter it belongs to, but never back to where it came from.
  private mutating func route(
    _ packet: ArraySlice<UInt8>, of filter: FilterID?, from source: Int?, isReply: Bool = false,
    in memory: PhysicalMemory, _ told: inout [(environment: EnvironmentID, ring: Int)]
  ) -> Route {
    guard let filter, let (authority, slot, handler) = bound[filter.number], slot != source else {
      return .unclaimed
    }
    if let handler, !isReply {
      let outcome = handler.run(on: packet.span) { reply in
        if reply.count >= PacketRing.leastLength { replies.append((slot, Array(reply))) }
      }
      guard outcome.delivers else {
        note(packet, from: source, to: slot, .handled)
        return .delivered
      }
    }
    guard rings[slot]?.deliver(packet, of: authority, in: memory) ?? false else {
      note(packet, from: source, to: slot, .full)
      return .full
    }
    note(packet, from: source, to: slot, .delivered)
    if rings[slot]?.takeWish(in: memory) ?? false, let ring = rings[slot] {
      told.append((ring.owner, ring.number))
    }
    return .delivered
  }

  private func note(
    _ packet: ArraySlice<UInt8>, from source: Int?, to slot: Int, _ fate: CapturedPacket.Fate
  ) {
    capture.take(packet, from: source.flatMap { rings[$0]?.owner }, to: rings[slot]?.owner, fate)
  }

  // --- what tests look at

  var boundCount: Int { bound.count }
  var areHandlersCounted: Bool { bound.count { $0.value.handler?.code != nil } == compiledHandlers }
  var areDependentsKnown: Bool {
    dependents.reduce(0) { $0 + $1.value.count }
      == authorities.reduce(0) { $0 + Set($1.value.standsOn).count }
      && authorities.allSatisfy { number, authority in
        authority.standsOn.allSatisfy { dependents(on: $0, of: authority.owner).contains(number) }
      }
  }
  /// The regions of handlers, with those whose handlers they are.
  var handlerRegions: [(owner: EnvironmentID?, region: HandlerRegion)] {
    bound.compactMap { _, claim in
      claim.handler?.region.map { (authorities[claim.authority]?.owner, $0) }
    }
  }
  var ringKeys: [(EnvironmentID, Int)] { rings.compactMap { $0.map { ($0.owner, $0.number) } } }
}
