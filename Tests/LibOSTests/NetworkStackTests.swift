import Testing

@testable import ExosNetworkHost

/// Two hosts on a wire that the test moves frames over, and what a hostile wire may bring.
@Suite struct NetworkStackTests {
  /// Some stacks on one link.
  final class Link {
    let hosts: [NetworkStack]
    var now: UInt64 = 1_000_000_000
    var frames: [[UInt8]] = []
    /// Which frames get lost, by their number.
    var loses: (Int) -> Bool = { _ in false }

    init(_ count: Int = 2) {
      hosts = (0..<count).map { NetworkStack(station: MACAddress(bits: 0x02_0000_0000_01 + UInt64($0))) }
      for (index, host) in hosts.enumerated() {
        host.ipv4 = NetworkStack.IPv4Configuration(IPv4Address(10, 0, 0, UInt8(index + 1)), prefix: 24)
      }
    }
    /// Moves frames until there are none.
    func settle() {
      while true {
        let batch = hosts.enumerated().flatMap { index, host in host.takeOutput().map { (index, $0) } }
        if batch.isEmpty { return }
        for (from, frame) in batch {
          frames.append(frame)
          if loses(frames.count) { continue }
          for (index, host) in hosts.enumerated() where index != from { host.receive(frame[...], at: now) }
        }
      }
    }
    func pass(_ nanoseconds: UInt64) {
      now += nanoseconds
      for host in hosts { host.advance(to: now) }
      settle()
    }
  }
  private static let b4 = IPAddress.v4(IPv4Address(10, 0, 0, 2))

  @Test(arguments: [false, true]) func echo(isSix: Bool) throws {
    let link = Link()
    let target: IPAddress = isSix ? .v6(link.hosts[1].ipv6[0]) : Self.b4
    for (sequence, size) in [0, 1, 56, 1472, 1473, 5000, 60_000].enumerated() {
      let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      try link.hosts[0].sendEcho(to: target, identifier: 1, sequence: UInt16(sequence), payload: payload)
      link.settle()
      let echoes = link.hosts[0].takeEchoes()
      #expect(echoes.count == 1 && echoes[0].payload == payload && echoes[0].from == target, "\(size) bytes")
    }
    #expect(link.frames.allSatisfy { $0.count <= 1514 })
    #expect(link.hosts[1].fragments.count == 0)
  }

  @Test(arguments: [false, true]) func datagrams(isSix: Bool) throws {
    let link = Link()
    let target: IPAddress = isSix ? .v6(link.hosts[1].ipv6[0]) : Self.b4
    let server = try UDPSocket(link.hosts[1], port: 7)
    let client = try UDPSocket(link.hosts[0])
    for size in [0, 1, 2, 1472, 1473, 65_507] {
      let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
      try client.send(payload, to: Endpoint(target, port: 7))
      link.settle()
      let datagram = try #require(server.receive())
      #expect(datagram.payload == payload && datagram.from.port == client.port)
      try server.send(datagram.payload, to: datagram.from)
      link.settle()
      #expect(client.receive()?.payload == payload)
    }
    #expect(throws: NetworkError.tooLarge) {
      try client.send([UInt8](repeating: 0, count: 65_508), to: Endpoint(target, port: 7))
    }
    #expect(throws: NetworkError.portInUse) { _ = try UDPSocket(link.hosts[1], port: 7) }
    #expect(throws: NetworkError.noRoute) {
      try client.send([], to: Endpoint(.v4(IPv4Address(192, 168, 0, 1)), port: 7))
    }
  }

  /// Whoever is not there is asked for three times; whoever comes late gets what waited.
  @Test func neighboursAreAskedForAgain() throws {
    let link = Link()
    try link.hosts[0].sendEcho(
      to: .v4(IPv4Address(10, 0, 0, 9)), identifier: 1, sequence: 1, payload: [])
    link.settle()
    for _ in 0..<10 { link.pass(1_000_000_000) }
    #expect(link.frames.count == 3)
    link.loses = { $0 == 4 }
    try link.hosts[0].sendEcho(to: Self.b4, identifier: 1, sequence: 2, payload: [5])
    link.settle()
    #expect(link.hosts[0].takeEchoes().isEmpty)
    link.pass(1_000_000_000)
    #expect(link.hosts[0].takeEchoes().map(\.payload) == [[5]])
  }

  @Test func fragmentsInAnyOrder() throws {
    var random = Randomness(state: 3)
    let key = FragmentStore.Key(source: Self.b4, destination: Self.b4, identification: 1, proto: 17)
    let whole = (0..<4000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    for _ in 0..<200 {
      var store = FragmentStore()
      var cuts = [0]
      while cuts[cuts.count - 1] < whole.count {
        cuts.append(min(cuts[cuts.count - 1] + Int.random(in: 20...60, using: &random) * 8, whole.count))
      }
      var parts = (1..<cuts.count).map { cuts[$0 - 1]..<cuts[$0] }
      parts.shuffle(using: &random)
      var result: [UInt8]?
      for (index, part) in parts.enumerated() {
        result = store.add(
          key, offset: part.lowerBound, isLast: part.upperBound == whole.count, whole[part], at: 0)
        #expect((result == nil) == (index < parts.count - 1))
      }
      #expect(result == whole && store.count == 0)
    }
  }

  @Test func overlappingFragmentsAreThrownAway() {
    var store = FragmentStore()
    let key = FragmentStore.Key(source: Self.b4, destination: Self.b4, identification: 1, proto: 17)
    let zeros = [UInt8](repeating: 0, count: 64)[...]
    #expect(store.add(key, offset: 0, isLast: false, zeros, at: 0) == nil)
    #expect(store.add(key, offset: 32, isLast: false, zeros, at: 0) == nil)
    #expect(store.add(key, offset: 64, isLast: true, zeros, at: 0) == nil)
    #expect(store.bytes == 0)
    store.expire(at: FragmentStore.lifetime + 1)
    #expect(store.count == 0)
    // And not more is kept than there is room for, whatever comes.
    for number in 0..<5000 {
      let other = FragmentStore.Key(
        source: Self.b4, destination: Self.b4, identification: UInt32(number / 40), proto: 17)
      _ = store.add(
        other, offset: number % 40 * 1480, isLast: false, [UInt8](repeating: 1, count: 1480)[...], at: 0)
    }
    #expect(store.count <= FragmentStore.datagramLimit && store.bytes <= FragmentStore.totalLimit)
  }

  /// By the definition, a word at a time: whatever the length, wherever it begins, and with every carry there can be.
  @Test func checksums() {
    var random = Randomness(state: 17)
    for length in 0..<200 {
      for fill in [nil, 0, 0xff] as [UInt8?] {
        let bytes = (0..<length + 3).map { _ in fill ?? UInt8.random(in: 0...255, using: &random) }
        for start in 0..<3 {
          let part = bytes[start..<start + length]
          var sum = 0
          for (index, byte) in part.enumerated() { sum += Int(byte) << (index % 2 == 0 ? 8 : 0) }
          while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
          #expect(InternetChecksum.of(part) == ~UInt16(sum), "\(part)")
        }
      }
    }
  }

  @Test func addressesAsText() {
    for text in ["::", "::1", "fe80::1", "2001:db8::1:0:0:1", "1:2:3:4:5:6:7:8", "ff02::1:ff00:1"] {
      #expect(IPv6Address(text)?.description == text)
    }
    #expect(IPv6Address("::ffff:10.0.0.1")?.description == "::ffff:a00:1")
    for text in [
      "", ":", "1", "1:2", ":::", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "g::", "1:2:3:4:5:6:7:",
      "::1.2.3",
    ] {
      #expect(IPv6Address(text) == nil, "\(text)")
    }
    #expect(IPv4Address("10.0.0.255")?.description == "10.0.0.255")
    for text in ["", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1..2.3", "1.2.3.", "a.b.c.d"] {
      #expect(IPv4Address(text) == nil, "\(text)")
    }
    #expect(IPv6Address.linkLocal(MACAddress(bits: 0x02_0000_0000_01)).description == "fe80::ff:fe00:1")
  }

  @Test func namesAndTheirAnswers() throws {
    let query = try #require(DNSQuery("Guest.Example.", .a, identifier: 0x1234))
    var message = query.message
    #expect(message.count == 12 + 15 + 4)
    message[2] = 0x81
    message[7] = 2
    // An alias, then its address: names by pointers.
    message += [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, 120, 0xc0, 18]
    message += [0xc0, 43, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 2, 3]
    #expect(query.answer(in: message[...]) == .addresses([.v4(IPv4Address(10, 1, 2, 3))]))
    for length in 0..<message.count { _ = query.answer(in: message[..<length]) }
    // A name that is its own tail.
    message[43] = 0xc0
    message[44] = 43
    _ = query.answer(in: message[...])
    #expect(DNSQuery("", .a, identifier: 1) == nil)
    #expect(DNSQuery("a..b", .a, identifier: 1) == nil)
    #expect(DNSQuery(String(repeating: "a", count: 64), .a, identifier: 1) == nil)
    var random = Randomness(state: 5)
    for _ in 0..<100_000 {
      var other = message
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        other[Int.random(in: 0..<other.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      _ = query.answer(in: other.prefix(Int.random(in: 0...other.count, using: &random)))
    }
  }

  @Test func dhcpFromDiscoverToLease() throws {
    let station = MACAddress(bits: 0x02_0000_0000_01)
    var client = DHCPClient(station: station, seed: 1)
    func advance(to time: UInt64) -> [UInt8]? { client.advance(to: time) }
    let discover = try #require(advance(to: 0))
    #expect(advance(to: 0) == nil && discover.count >= 300)
    func answer(_ kind: UInt8, to message: [UInt8]) -> [UInt8] {
      var reply = message
      reply[0] = 2
      reply.replaceSubrange(16..<20, with: [10, 0, 0, 5])
      reply.removeSubrange(240...)
      return reply + [
        53, 1, kind, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 0, 1, 6, 4,
        10, 0, 0, 2, 255,
      ]
    }
    let offer = answer(2, to: discover)
    var wrong = offer
    wrong[4] ^= 1
    client.receive(wrong[...], at: 0)
    #expect(advance(to: 0) == nil)
    client.receive(offer[...], at: 0)
    let request = try #require(advance(to: 0))
    client.receive(answer(5, to: request)[...], at: 0)
    let lease = try #require(client.lease)
    #expect(lease.address == IPv4Address(10, 0, 0, 5) && lease.prefix == 24 && lease.seconds == 3600)
    #expect(lease.gateway == IPv4Address(10, 0, 0, 1) && lease.resolvers == [IPv4Address(10, 0, 0, 2)])
    // Half way it asks for more, and without an answer gives it up in the end.
    #expect(client.due == 1_800_000_000_000)
    #expect(advance(to: 1_800_000_000_000) != nil && client.lease != nil)
    #expect(advance(to: 3_600_000_000_000) != nil && client.lease == nil)
    var random = Randomness(state: 6)
    for _ in 0..<50_000 {
      var other = offer
      for _ in 0..<4 {
        other[Int.random(in: 0..<other.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      client.receive(other.prefix(Int.random(in: 0...other.count, using: &random)), at: 0)
      _ = client.advance(to: .random(in: 0...1 << 42, using: &random))
    }
  }

  /// A million packets made of good ones, changed in every header, end nothing, and leave nothing behind.
  @Test func mutatedPackets() throws {
    let link = Link()
    for port: UInt16 in [7, 68] { _ = try link.hosts[1].open(port) }
    let six = IPAddress.v6(link.hosts[1].ipv6[0])
    for target in [Self.b4, six] {
      for size in [8, 3000] {
        try link.hosts[0].sendEcho(
          to: target, identifier: 1, sequence: 1, payload: [UInt8](repeating: 1, count: size))
        try link.hosts[0].sendUDP([UInt8](repeating: 2, count: size), from: 9, to: Endpoint(target, port: 7))
        link.settle()
      }
    }
    let seeds = link.frames
    #expect(seeds.count > 20)
    let host = link.hosts[1]
    var random = Randomness(state: 2026)
    var now: UInt64 = 5_000_000_000
    for round in 0..<1_000_000 {
      var frame = seeds[Int(truncatingIfNeeded: random.next() >> 33) % seeds.count]
      // In the headers mostly.
      let changes = 1 + Int(truncatingIfNeeded: random.next() & 3)
      for _ in 0..<changes {
        let number = random.next()
        let at = Int(truncatingIfNeeded: number >> 40) % min(frame.count, number & 7 == 0 ? frame.count : 74)
        if number & 8 == 0 {
          frame[at] = UInt8(truncatingIfNeeded: number >> 8)
        } else {
          frame[at] ^= 1 << UInt8(number >> 8 & 7)
        }
      }
      let length = random.next()
      let end =
        length & 7 == 0 ? Int(truncatingIfNeeded: length >> 8 & 0xffff) % (frame.count + 1) : frame.count
      now &+= length & 63 == 0 ? 10_000_000_000 : 1_000
      host.receive(frame[..<end], at: now)
      if round & 63 == 0 {
        host.advance(to: now)
        _ = host.takeOutput()
        _ = host.takeEchoes()
        _ = host.receive(7)
      }
    }
    #expect(
      host.fragments.bytes <= FragmentStore.totalLimit
        && host.neighbours.entries.count <= NeighbourTable.limit)
    #expect(host.counters.malformed > 1000 && host.counters.badChecksums > 1000)
    // And it still works.
    _ = host.takeOutput()
    link.now = now + 100_000_000_000
    for other in link.hosts { other.advance(to: link.now) }
    try link.hosts[0].sendEcho(to: Self.b4, identifier: 3, sequence: 3, payload: [9])
    link.settle()
    #expect(link.hosts[0].takeEchoes().last?.payload == [9])
  }
}
