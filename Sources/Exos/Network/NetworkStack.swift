/// The network above the link, as a machine without clock or wires: frames go in, frames come out, and whoever owns it says what
/// time it is. It asks nothing of the exokernel, so it is tested as it is.
///
///     stack.receive(frame, at: now)
///     for frame in stack.takeOutput() { ... }
///     sleep until a frame, or stack.due; then stack.advance(to: now)
///
/// Whatever comes in is checked before it is used, and what is kept of it is bounded.
public final class NetworkStack {
  public let station: MACAddress
  /// Largest IP packet.
  public static let mtu = 1500

  /// This host's IPv4 address, the length of its network's prefix, and whom to ask for other networks.
  public struct IPv4Configuration: Equatable, Sendable {
    public var address: IPv4Address
    public var prefix: Int
    public var gateway: IPv4Address?
    public init(_ address: IPv4Address, prefix: Int, gateway: IPv4Address? = nil) {
      self.address = address
      self.prefix = min(max(prefix, 0), 32)
      self.gateway = gateway
    }
    var mask: UInt32 { prefix == 0 ? 0 : ~UInt32(0) << UInt32(32 - prefix) }
    var directedBroadcast: IPv4Address { IPv4Address(bits: address.bits | ~mask) }
  }
  public var ipv4: IPv4Configuration?
  /// Addresses of this host; the first is the link's.
  public private(set) var ipv6: [IPv6Address]
  public var gateway6: IPv6Address?

  var now: UInt64 = 0
  var neighbours = NeighbourTable()
  var fragments = FragmentStore()
  var sockets: [UDPSocketState] = []
  var identification: UInt16 = 1
  var nextPort: UInt16 = 49_152
  private var output: [[UInt8]] = []
  static let outputLimit = 256

  /// Echoes that were answered.
  public struct EchoReply: Equatable, Sendable {
    public var from: IPAddress
    public var identifier: UInt16
    public var sequence: UInt16
    public var payload: [UInt8]
  }
  var echoes: [EchoReply] = []
  static let echoLimit = 64

  /// What became of what came in.
  public struct Counters: Equatable, Sendable {
    public var received = 0
    public var malformed = 0
    public var badChecksums = 0
    public var notForUs = 0
    public var delivered = 0
    public var noSocket = 0
  }
  public internal(set) var counters = Counters()

  public init(station: MACAddress) {
    self.station = station
    ipv6 = [.linkLocal(station)]
  }

  public func add(_ address: IPv6Address) {
    if !ipv6.contains(address) { ipv6.append(address) }
  }

  /// Takes the frames that are to be sent.
  public func takeOutput() -> [[UInt8]] {
    let frames = output
    output = []
    return frames
  }

  /// When `advance` is due: monotonic nanoseconds; the largest number for never.
  public var due: UInt64 { neighbours.due }

  public func advance(to time: UInt64) {
    now = max(now, time)
    for address in neighbours.retries(at: now) { ask(for: address) }
    fragments.expire(at: now)
  }

  /// A frame from the link.
  public func receive(_ frame: ArraySlice<UInt8>, at time: UInt64) {
    now = max(now, time)
    counters.received &+= 1
    guard let destination = frame.station(0), let source = frame.station(6), let type = frame.half(12) else {
      counters.malformed &+= 1
      return
    }
    guard destination == station || destination.isGroup, source != station, !source.isGroup else {
      counters.notForUs &+= 1
      return
    }
    let packet = frame.rest(14)
    switch type {
    case 0x0800: receiveIPv4(packet, from: source)
    case 0x0806: receiveARP(packet)
    case 0x86dd: receiveIPv6(packet, from: source)
    default: counters.notForUs &+= 1
    }
  }

  // --- to the link

  func emit(_ type: UInt16, to destination: MACAddress, _ packet: [UInt8]) {
    guard output.count < Self.outputLimit else { return }
    var frame = [UInt8](room: 14, copying: packet[...])
    frame.set(destination, at: 0)
    frame.set(station, at: 6)
    frame.set(half: type, at: 12)
    output.append(frame)
  }

  /// Sends an IP packet to a neighbour, once it is known where he is.
  func emit(_ packet: [UInt8], toNeighbour address: IPAddress) {
    let type: UInt16 = if case .v4 = address { 0x0800 } else { 0x86dd }
    if let station = neighbours.station(of: address, at: now) {
      emit(type, to: station, packet)
    } else if neighbours.wait(for: address, packet, at: now) {
      ask(for: address)
    }
  }

  func ask(for address: IPAddress) {
    switch address {
    case .v4(let four): askARP(for: four)
    case .v6(let six): solicit(six)
    }
  }

  /// Somebody is there: what waited for him goes out.
  func learn(_ address: IPAddress, _ station: MACAddress, orAdd isNew: Bool) {
    let type: UInt16 = if case .v4 = address { 0x0800 } else { 0x86dd }
    for packet in neighbours.learn(address, station, at: now, orAdd: isNew) {
      emit(type, to: station, packet)
    }
  }

  // --- IP of either kind

  /// Sends what a protocol has to say. Larger than the link takes, it goes in fragments.
  /// - Throws: `noAddress` without an address to send from, `noRoute`, `tooLarge`.
  func send(
    _ proto: UInt8, _ payload: [UInt8], from source: IPAddress? = nil, to destination: IPAddress,
    hops: UInt8 = 64
  ) throws(NetworkError) {
    switch destination {
    case .v4(let four):
      var origin: IPv4Address?
      if case .v4(let address)? = source { origin = address }
      try sendIPv4(proto, payload, from: origin, to: four, hops: hops)
    case .v6(let six):
      var origin: IPv6Address?
      if case .v6(let address)? = source { origin = address }
      try sendIPv6(proto, payload, from: origin, to: six, hops: hops)
    }
  }

  /// The address that packets to there come from.
  func source(for destination: IPAddress) throws(NetworkError) -> IPAddress {
    switch destination {
    case .v4: .v4(ipv4?.address ?? .any)
    case .v6(let six): .v6(source6(for: six))
    }
  }

  /// A whole datagram for this host.
  func deliver(
    _ proto: UInt8, _ payload: ArraySlice<UInt8>, from source: IPAddress, to destination: IPAddress
  ) {
    switch (proto, destination) {
    case (1, .v4): receiveICMP(payload, from: source, to: destination)
    case (58, .v6): receiveICMPv6(payload, from: source, to: destination)
    case (17, _): receiveUDP(payload, from: source, to: destination)
    default: counters.notForUs &+= 1
    }
  }
}

/// Why something could not be sent or had.
public enum NetworkError: Error, Equatable, Sendable {
  /// This host has no address of the kind.
  case noAddress
  /// Not on this network, and there is no gateway.
  case noRoute
  case tooLarge
  case portInUse
  case closed
  case timedOut
  /// The name has no address, or the server's answer could not be understood.
  case noSuchName
  /// The machine offers this environment no network.
  case noNetwork

  public var description: String {
    switch self {
    case .noAddress: "no address of this kind"
    case .noRoute: "no route"
    case .tooLarge: "too large"
    case .portInUse: "port in use"
    case .closed: "closed"
    case .timedOut: "timed out"
    case .noSuchName: "no such name"
    case .noNetwork: "no network"
    }
  }
}
