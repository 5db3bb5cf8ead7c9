import ExoABI
import Testing

@testable import Exo

/// Claims, templates and rings between environments that are not trusted.
@Suite struct NetworkTests {
  private static func to(_ number: UInt8) throws -> Filter {
    try Filter.ethernet.to(NetworkBench.address(number)).filter
  }
  private func refused(_ refusal: Refusal, _ body: () throws -> Void) {
    #expect(throws: refusal, performing: body)
  }

  @Test func onePacketFromOneToTheOther() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    try b.claim(Self.to(2))
    let packet = NetworkBench.packet(from: 1, to: 2)
    #expect(try a.send(packet, packet) == Network.Sent(taken: 2))
    #expect(b.receive().map(\.bytes) == [packet, packet])
    #expect(a.receive().isEmpty)
    #expect(net.problems == [])
  }

  @Test func forgedSourcesAndLengthsAreNotSent() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    try b.claim(Self.to(2))
    #expect(try a.send(NetworkBench.packet(from: 3, to: 2)) == Network.Sent(taken: 1, refused: 1))
    for length: UInt32 in [0, 13, 2049, 65_536, .max] {
      a.put(NetworkBench.packet(from: 1, to: 2), length: length)
    }
    a.store(a.submitted, a.address + 4)
    #expect(try net.network.send(0, of: a.id) == Network.Sent(taken: 5, refused: 5))
    #expect(b.receive().isEmpty)
    // Each slot says so.
    #expect(a.load(a.address + 128 + 1024 + 4) == UInt32(EXO_PACKET_REFUSED))
    #expect(a.load(a.address + 68) == 6)
  }

  /// A narrower template does what it says, also in another environment's hands, and goes with what it was made from.
  @Test func templatesNarrow() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    let (child, handle) = try net.bench.child(of: a.id)
    _ = child
    try b.claim(Self.to(2))
    let own = Filter.ethernet.from(NetworkBench.address(1))
    refused(.notPermitted) { _ = try a.derive(Self.to(2)) }
    refused(.notPermitted) { _ = try a.derive(Filter.ethernet.from(NetworkBench.address(2)).filter) }
    let narrow = try a.derive(own.ipv4.udp(sourcePort: 12345))
    let granted = try net.bench.call(
      EXO_CALL_capability_grant, narrow.rawValue, handle.rawValue, 0, 0, UInt64(EXO_RIGHT_CALL), by: a.id)
    #expect(granted.result > 0)
    // In place of the wider one.
    try net.bench.call(EXO_CALL_packet_ring_unbind, 0, by: a.id)
    try net.bench.call(EXO_CALL_packet_ring_bind, a.address, UInt64(NetworkBench.Station.slots), by: a.id)
    try net.bench.call(EXO_CALL_transmit_bind, narrow.rawValue, 0, by: a.id)
    var other = NetworkBench.packet(from: 1, to: 2)
    other[34] = 0
    #expect(try a.send(NetworkBench.packet(from: 1, to: 2), other) == Network.Sent(taken: 2, refused: 1))
    try net.bench.call(EXO_CALL_capability_drop, a.transmit.rawValue, by: a.id)
    refused(.stale) { try net.bench.call(EXO_CALL_transmit_bind, narrow.rawValue, 0, by: a.id) }
    #expect(try a.send(NetworkBench.packet(from: 1, to: 2)) == Network.Sent(taken: 1, refused: 1))
    #expect(net.problems == [])
  }

  @Test func anothersPacketsCannotBeClaimed() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    try b.claim(Self.to(2))
    for filter in [
      try Self.to(2), .everything,
      try Filter.ethernet.to(NetworkBench.address(2)).ipv4.udp(destinationPort: 7),
      try Filter.ethernet.arp,
    ] {
      refused(.exists) { try a.claim(filter) }
    }
    // One's own may overlap; the most specific gets it.
    let port = try b.claim(Filter.ethernet.to(NetworkBench.address(2)).ipv4.udp(destinationPort: 9))
    let inspected = try net.bench.call(EXO_CALL_capability_inspect, port.rawValue, by: b.id)
    _ = try a.send(NetworkBench.packet(from: 1, to: 2, port: 9))
    #expect(b.receive().map(\.filter) == [UInt32(truncatingIfNeeded: inspected.values.1)])
    #expect(net.problems == [])
  }

  /// A consents to B having one of its ports, takes it back, and has the port again.
  @Test func consentByCapability() throws {
    let net = try NetworkBench()
    let a = try net.station(1)
    let (id, handle) = try net.bench.child(of: a.id, frames: 100)
    let c = try net.station(3)
    let whole = try a.claim(Self.to(1))
    // The child gets a ring of its own.
    let low = NetworkBench.Station.low
    let memory = try net.bench.call(EXO_CALL_frame_allocate, UInt64(EXO_FRAME_ANY), 48, by: id)
    try net.bench.call(
      EXO_CALL_map, UInt64(memory.result), 0, low, 48, UInt64(EXO_READ | EXO_WRITE), by: id)
    let b = try NetworkBench.Station(net, id: id, sources: [.everything])
    let port = try Filter.ethernet.to(NetworkBench.address(1)).ipv4.udp(destinationPort: 9)
    refused(.exists) { try b.claim(port) }
    let consent = try net.bench.call(
      EXO_CALL_capability_grant, whole.rawValue, handle.rawValue, 0, 0, UInt64(EXO_RIGHT_CALL), by: a.id)
    let granted = CapabilityHandle(rawValue: UInt64(consent.result))
    try b.claim(port, consents: [granted])
    // Handed on, a claim is also something to claim under, and nothing more.
    refused(.notPermitted) { try b.claim(.ethernet.arp, under: granted) }
    try b.claim(Filter.ethernet.to(NetworkBench.address(1)).ipv4.udp(destinationPort: 10), under: granted)
    for number: UInt16 in [9, 10, 11] { _ = try c.send(NetworkBench.packet(from: 3, to: 1, port: number)) }
    #expect(b.receive().count == 2)
    #expect(a.receive().count == 1)
    try net.bench.call(EXO_CALL_capability_revoke, whole.rawValue, by: a.id)
    #expect(net.problems == [])
    for number: UInt16 in [9, 10, 11] { _ = try c.send(NetworkBench.packet(from: 3, to: 1, port: number)) }
    #expect(b.receive().isEmpty)
    #expect(a.receive().count == 3)
  }

  /// What the machine's owner gave limits what is claimed.
  @Test func claimsStayWithinWhatWasGiven() throws {
    let net = try NetworkBench()
    let a = try net.station(1, claim: Self.to(1))
    refused(.notPermitted) { try a.claim(Self.to(2)) }
    refused(.notPermitted) { try a.claim(.everything) }
    try a.claim(Filter.ethernet.to(NetworkBench.address(1)).ipv6.filter)
    refused(.badCapability) { try a.claim(Self.to(1), under: CapabilityHandle(rawValue: 12345)) }
    refused(.badCapability) { try a.claim(Self.to(1), under: a.transmit) }
    refused(.absent) { try a.claim(Self.to(1), ring: 1) }
    // No description of a filter.
    a.write([UInt8](repeating: 0xff, count: MemoryLayout<exo_claim>.size), at: NetworkBench.Station.scratch)
    refused(.invalid) { try net.bench.call(EXO_CALL_filter_install, NetworkBench.Station.scratch, by: a.id) }
    refused(.badAddress) { try net.bench.call(EXO_CALL_filter_install, 0x10_0000_0000, by: a.id) }
    #expect(net.problems == [])
  }

  /// Asked for bindings back as filters, an environment loses claims, the youngest first, and never what it was admitted to.
  @Test func claimsCanBeAskedBackAndTaken() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    try b.claim(Self.to(2))
    try b.claim(Filter.ethernet.to(NetworkBench.address(2)).ipv4.udp(destinationPort: 9))
    let unused = try #require(net.bench.kernel.capabilities.quotas.account(of: b.id)?.available(.bindings))
    let atOnce = try net.bench.kernel.ask(
      b.id, for: .filter, unused + 1, by: 0, asker: .environment(a.id, tag: 1))
    #expect(atOnce == nil)
    net.bench.kernel.repossess(b.id, at: 1)
    // The claim of the port is gone, that of the address is not: it gets other ports too.
    _ = try a.send(NetworkBench.packet(from: 1, to: 2, port: 9), NetworkBench.packet(from: 1, to: 2, port: 8))
    let left = b.receive().map(\.filter)
    #expect(left.count == 2 && Set(left).count == 1)
    #expect(net.bench.kernel.domains[b.id]?.repossessions == 1)
    // More than there are claims: they go, and the authority to claim stays.
    _ = try net.bench.kernel.ask(b.id, for: .filter, 100, by: 0, asker: .environment(a.id, tag: 1))
    net.bench.kernel.repossess(b.id, at: 1)
    _ = try a.send(NetworkBench.packet(from: 1, to: 2, port: 9))
    #expect(b.receive().isEmpty)
    #expect((try? net.bench.call(EXO_CALL_capability_inspect, b.filter.rawValue, by: b.id)) != nil)
    #expect(net.problems == [])
  }

  @Test func bindingsHaveAQuota() throws {
    let net = try NetworkBench()
    let a = try net.station(1)
    // 20, of which the ring is one.
    for port: UInt16 in 0..<19 { try a.claim(.ethernet.ipv4.udp(destinationPort: port)) }
    refused(.quota) { try a.claim(.ethernet.ipv4.udp(destinationPort: 99)) }
    refused(.quota) { _ = try a.derive(Filter.ethernet.from(NetworkBench.address(1)).ipv4.filter) }
    #expect(net.problems == [])
    try net.bench.call(EXO_CALL_packet_ring_unbind, 0, by: a.id)
    #expect(net.problems == [])
    #expect(net.network.withState { $0.boundCount } == 0)
  }

  @Test func theEndOfAnEnvironmentIsTheEndOfItsClaims() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    let claim = try b.claim(Self.to(2))
    _ = claim
    net.bench.kernel.destroyDomain(b.id)
    #expect(net.problems == [])
    #expect(try a.send(NetworkBench.packet(from: 1, to: 2)) == Network.Sent(taken: 1, dropped: 1))
    try a.claim(Self.to(2))
    let c = try net.station(3)
    _ = try c.send(NetworkBench.packet(from: 3, to: 2))
    #expect(a.receive().count == 1)
    net.bench.kernel.destroyDomain(a.id)
    net.bench.kernel.destroyDomain(c.id)
    #expect(net.problems == [])
    #expect(net.network.withState { $0.authorities.count } == 0)
  }

  /// Frames under a ring are guaranteed; unbound, they are the environment's to give up.
  @Test func ringsStayMappedWhileBound() throws {
    let net = try NetworkBench()
    let a = try net.station(1)
    refused(.busy) { try net.bench.call(EXO_CALL_unmap, a.address, 1, by: a.id) }
    try net.bench.call(EXO_CALL_packet_ring_unbind, 0, by: a.id)
    try net.bench.call(EXO_CALL_unmap, a.address, 1, by: a.id)
    refused(.absent) { try net.bench.call(EXO_CALL_packet_ring_unbind, 0, by: a.id) }
    refused(.absent) { _ = try net.network.send(0, of: a.id) }
    refused(.badAddress) { try net.bench.call(EXO_CALL_packet_ring_bind, a.address, 8, by: a.id) }
    #expect(net.problems == [])
  }

  /// A ring whose owner writes anything anywhere loses only its own packets.
  @Test func ringsThatLie() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    try b.claim(Self.to(2))
    var random = Randomness(seed: 11)
    let packet = NetworkBench.packet(from: 1, to: 2)
    for _ in 0..<20_000 {
      for station in [a, b] {
        // The counts, the descriptors and the exokernel's own words.
        station.store(
          random.oneIn(2) ? UInt32(random.below(20)) : UInt32(truncatingIfNeeded: random.ofAnySize()),
          station.address + UInt64(random.below(2176 / 4) * 4))
      }
      let sent = try net.network.send(0, of: a.id)
      #expect(sent.taken <= NetworkBench.Station.slots)
      a.write(packet, at: a.address + 4096 + UInt64(random.below(16) * 2048))
    }
    #expect(net.problems == [])
    // Afterwards it works as before for who behaves.
    let c = try net.station(3)
    try c.claim(Self.to(3))
    let d = try net.station(4)
    _ = try d.send(NetworkBench.packet(from: 4, to: 3))
    #expect(c.receive().count == 1)
  }

  @Test func fullRingsDropAndGoOn() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    try b.claim(Self.to(2))
    b.store(1, b.address + 8)
    var told = 0
    var dropped = 0
    for round in 0..<20 {
      let sent = try a.send(NetworkBench.packet(from: 1, to: 2, [UInt8(round)]))
      told += sent.told.count
      dropped += sent.dropped
    }
    #expect((told, dropped) == (1, 12))
    #expect(b.load(b.address + 72) == 12)
    #expect(b.receive().map { $0.bytes.last } == (0..<8).map { UInt8($0) })
    _ = try a.send(NetworkBench.packet(from: 1, to: 2, [77]))
    #expect(b.receive().map { $0.bytes.last } == [77])
  }
}
