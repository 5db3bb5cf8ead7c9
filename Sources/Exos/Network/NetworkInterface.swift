#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// What this environment was let onto the network with: its variable `EXO_NET`.
  public struct NetworkAuthority {
    /// To a filter: what may be claimed.
    public let filter: Capability
    /// To a template: what may be sent.
    public let transmit: Capability
    public let station: MACAddress

    /// Nil if the machine offers no network.
    public static var own: NetworkAuthority? {
      guard let text = Variables["EXO_NET"] else { return nil }
      let parts = Array(text.utf8).split(separator: 58)
      guard parts.count == 3, let filter = number(parts[0], 10), let transmit = number(parts[1], 10),
        let bits = number(parts[2], 16)
      else { return nil }
      return NetworkAuthority(
        filter: Capability(handle: filter), transmit: Capability(handle: transmit),
        station: MACAddress(bits: bits))
    }
    private static func number(_ digits: ArraySlice<UInt8>, _ radix: UInt64) -> UInt64? {
      var result: UInt64 = 0
      for digit in digits {
        let value: UInt8
        switch digit {
        case 48...57: value = digit - 48
        case 97...102: value = digit - 87
        default: return nil
        }
        guard UInt64(value) < radix else { return nil }
        result = result &* radix &+ UInt64(value)
      }
      return result
    }
  }

  /// A stack on a packet ring: moves frames between the two, and sleeps while there are none. It takes this environment's events
  /// while it does.
  public final class NetworkInterface {
    public let stack: NetworkStack
    public let ring: PacketRing
    private let authority: NetworkAuthority
    public private(set) var resolvers: [IPAddress] = []
    private var claimed: Capability?

    /// How long it looks at the ring before it sleeps, at most, in nanoseconds: about what a sleep and its wake-up cost. Where
    /// packets have come later than that it is less each time, until one comes sooner again.
    public var patience: UInt64 = 50_000
    private var window: UInt64 = .max

    /// - Throws: `noNetwork` where the machine offers none, or another environment has claimed this one's packets.
    public init() throws(NetworkError) {
      guard let authority = NetworkAuthority.own else { throw .noNetwork }
      self.authority = authority
      stack = NetworkStack(station: authority.station)
      do {
        ring = try PacketRing()
        try ring.allow(authority.transmit)
        try ring.claim(.to(authority.station), under: authority.filter)
        try ring.claim(.dhcp(for: authority.station), under: authority.filter)
        try ring.claim(.to(.group(stack.ipv6[0].solicitedNode)), under: authority.filter)
      } catch {
        throw .noNetwork
      }
    }

    // --- addresses

    /// Has an IPv4 address.
    /// - Throws: `noNetwork` if another environment has it.
    public func configure(_ ipv4: NetworkStack.IPv4Configuration) throws(NetworkError) {
      if ipv4 == stack.ipv4 { return }
      do throws(ExocallError) {
        if let claimed { try claimed.drop() }
        claimed = nil
        claimed = try ring.claim(
          .to(.broadcast).arp(for: ipv4.address), under: authority.filter)
      } catch { throw .noNetwork }
      stack.ipv4 = ipv4
    }

    /// Has an IPv6 address besides that of the link.
    /// - Throws: `noNetwork` if another environment has one that ends like it.
    public func configure(_ ipv6: IPv6Address) throws(NetworkError) {
      do throws(ExocallError) {
        try ring.claim(.to(.group(ipv6.solicitedNode)), under: authority.filter)
      } catch { throw .noNetwork }
      stack.add(ipv6)
    }

    /// Takes addresses from the variables `EXO_IP` (`10.0.0.2/24`), `EXO_GATEWAY`, `EXO_IP6`, `EXO_GATEWAY6` and `EXO_DNS`;
    /// without `EXO_IP` and `EXO_IP6`, from a DHCP server.
    public func configure(until deadline: UInt64) throws(NetworkError) {
      if let text = Variables["EXO_IP6"], let address = IPv6Address(text) { try configure(address) }
      if let text = Variables["EXO_GATEWAY6"] { stack.gateway6 = IPv6Address(text) }
      if let text = Variables["EXO_IP"] {
        let parts = Array(text.utf8).split(separator: 47)
        guard parts.count == 2, let address = IPv4Address(String(decoding: parts[0], as: UTF8.self)),
          let prefix = Int(String(decoding: parts[1], as: UTF8.self)), (0...32).contains(prefix)
        else { throw .noAddress }
        var gateway: IPv4Address?
        if let text = Variables["EXO_GATEWAY"] { gateway = IPv4Address(text) }
        try configure(NetworkStack.IPv4Configuration(address, prefix: prefix, gateway: gateway))
      } else if Variables["EXO_IP6"] == nil {
        _ = try configureByDHCP(until: deadline)
      }
      if let text = Variables["EXO_DNS"], let server = IPAddress(text) { resolvers = [server] }
    }

    /// Asks a DHCP server for an address and uses it.
    /// - Throws: `timedOut`, or as `configure`.
    public func configureByDHCP(until deadline: UInt64) throws(NetworkError) -> DHCPClient.Lease {
      var client = DHCPClient(station: stack.station, seed: Clock.ticks)
      let socket = try UDPSocket(stack, port: DHCPClient.clientPort)
      while Clock.now < deadline {
        if let message = client.advance(to: Clock.now) {
          try socket.send(message, to: Endpoint(.v4(.broadcast), port: DHCPClient.serverPort))
        }
        if let answer = receive(socket, until: min(client.due, deadline)) {
          client.receive(answer.payload[...], at: Clock.now)
        }
        if let lease = client.lease {
          try configure(
            NetworkStack.IPv4Configuration(lease.address, prefix: lease.prefix, gateway: lease.gateway))
          resolvers = lease.resolvers.map { .v4($0) }
          return lease
        }
      }
      throw .timedOut
    }

    /// Has datagrams to a port echoed by a handler in the exokernel, without this environment being scheduled.
    /// - Throws: `noAddress` without an IPv4 address, `noNetwork` where it is refused.
    public func echoByHandler(port: UInt16) throws(NetworkError) {
      guard let own = stack.ipv4?.address else { throw .noAddress }
      do throws(ExocallError) {
        let claim = try ring.claim(.to(authority.station).udp(port: port), under: authority.filter)
        try PacketRing.handle(claim, by: .udpEcho(own))
      } catch { throw .noNetwork }
    }

    // --- moving packets

    /// Moves what is there now, both ways.
    public func poll() {
      while let frame = ring.receive() { stack.receive(frame[...], at: Clock.now) }
      stack.advance(to: Clock.now)
      flush()
    }

    /// Sends what the stack has to say.
    public func flush() {
      var isWaiting = false
      for frame in stack.takeOutput() {
        if !ring.put(frame) {
          _ = try? ring.send()
          _ = ring.put(frame)
        }
        isWaiting = true
      }
      if isWaiting { _ = try? ring.send() }
    }

    /// Sleeps until packets come or a time has passed, in nanoseconds of `Clock.now`.
    public func wait(until deadline: UInt64) {
      let end = min(deadline, stack.due)
      let began = Clock.now
      window = min(window, patience)
      defer {
        // A packet that came while it slept may have come as much sooner as it takes to wake.
        window = ring.hasPackets && Clock.now &- began < 2 &* patience ? patience : window / 2
      }
      while !ring.hasPackets {
        let now = Clock.now
        if now >= end { return }
        if now &- began < window, Slices.mayWatch {
          exo_pause()
          continue
        }
        ring.wish()
        guard !ring.hasPackets else { return }
        if end != .max { Events.setTimer(at: end) }
        Events.wait()
        while Events.poll() != nil {}
      }
    }

    /// Moves packets until one is there for a socket; nil if the time passes first.
    public func receive(_ socket: UDPSocket, until deadline: UInt64) -> Datagram? {
      while true {
        poll()
        if let datagram = socket.receive() { return datagram }
        if Clock.now >= deadline { return nil }
        wait(until: deadline)
      }
    }

    /// Sends at once.
    public func send(_ payload: [UInt8], from socket: UDPSocket, to endpoint: Endpoint) throws(NetworkError) {
      try socket.send(payload, to: endpoint)
      flush()
    }

    /// Asks for an echo and waits for it. Returns nanoseconds; nil if the time passes first.
    public func ping(
      _ address: IPAddress, identifier: UInt16, sequence: UInt16, bytes: Int, until deadline: UInt64
    ) throws(NetworkError) -> UInt64? {
      let payload = (0..<bytes).map { UInt8(truncatingIfNeeded: $0) }
      let start = Clock.now
      try stack.sendEcho(to: address, identifier: identifier, sequence: sequence, payload: payload)
      flush()
      while Clock.now < deadline {
        wait(until: deadline)
        poll()
        for echo in stack.takeEchoes()
        where echo.from == address && echo.identifier == identifier && echo.sequence == sequence
          && echo.payload == payload
        {
          return Clock.now - start
        }
      }
      return nil
    }

    /// The addresses of a name.
    /// - Throws: `noSuchName`, `timedOut`, `noRoute` without a name server.
    public func resolve(_ name: String, _ kind: DNSQuery.Kind = .a, until deadline: UInt64)
      throws(NetworkError)
      -> [IPAddress]
    {
      guard let server = resolvers.first else { throw .noRoute }
      let socket = try UDPSocket(stack)
      while Clock.now < deadline {
        let identifier = UInt16(truncatingIfNeeded: (Clock.ticks &* 0x9e37_79b9_7f4a_7c15) >> 40)
        guard let query = DNSQuery(name, kind, identifier: identifier) else { throw .noSuchName }
        let endpoint = Endpoint(server, port: DNSQuery.port)
        try send(query.message, from: socket, to: endpoint)
        let retry = min(deadline, Clock.now + 1_000_000_000)
        while let datagram = receive(socket, until: retry) {
          guard datagram.from == endpoint, let answer = query.answer(in: datagram.payload[...]) else {
            continue
          }
          guard case .addresses(let addresses) = answer else { throw .noSuchName }
          return addresses
        }
      }
      throw .timedOut
    }
  }
#endif
