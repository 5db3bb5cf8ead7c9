/// A DHCP client (RFC 2131) as a machine without clock or sockets: messages go in, messages come out.
///
///     if let message = client.advance(to: now) { send it }     // from port 68 to port 67, to everybody
///     client.receive(datagram, at: now)
///     client.lease
public struct DHCPClient: Sendable {
  public static let clientPort: UInt16 = 68
  public static let serverPort: UInt16 = 67

  /// What a server gave.
  public struct Lease: Equatable, Sendable {
    public var address: IPv4Address
    public var prefix: Int
    public var gateway: IPv4Address?
    public var resolvers: [IPv4Address]
    public var server: IPv4Address
    public var seconds: UInt32
  }
  private enum State { case selecting, requesting, bound, renewing }

  public private(set) var lease: Lease?
  /// When `advance` is due next: monotonic nanoseconds.
  public private(set) var due: UInt64 = 0
  private var state = State.selecting
  private var offer: Lease?
  private var transaction: UInt32
  private let station: MACAddress
  private var tries = 0
  private var ends: UInt64 = .max

  private static let second: UInt64 = 1_000_000_000
  private static let firstInterval: UInt64 = second
  private static let triesLimit = 4

  /// - Parameters:
  ///   - station: the address of the interface.
  ///   - seed: makes transactions hard to guess and different from others'.
  public init(station: MACAddress, seed: UInt64) {
    self.station = station
    let mixed = (seed ^ station.bits) &* 0x9e37_79b9_7f4a_7c15
    transaction = UInt32(truncatingIfNeeded: mixed >> 32)
  }

  /// The message that is to be sent to everybody now; nil if none is.
  public mutating func advance(to now: UInt64) -> [UInt8]? {
    guard now >= due else { return nil }
    if lease != nil, now >= ends {
      lease = nil
      restart()
    }
    switch state {
    case .selecting:
      tries += 1
      if tries == 1 { transaction &+= 1 }
      due = now &+ Self.firstInterval << UInt64(min(tries - 1, 5))
      return message(1, [])
    case .requesting:
      tries += 1
      guard tries <= Self.triesLimit, let offer else {
        restart()
        return advance(to: now)
      }
      due = now &+ Self.firstInterval << UInt64(tries - 1)
      return message(3, [50, 4] + bytes(offer.address) + [54, 4] + bytes(offer.server))
    case .bound, .renewing:
      state = .renewing
      due = min(now &+ 30 * Self.second, ends)
      return message(3, [], from: lease?.address ?? .any)
    }
  }

  private mutating func restart() {
    (state, tries, offer) = (.selecting, 0, nil)
    due = 0
  }

  /// A message from port 67. Whatever is none for this client changes nothing.
  public mutating func receive(_ message: ArraySlice<UInt8>, at now: UInt64) {
    guard message.byte(0) == 2, message.byte(1) == 1, message.byte(2) == 6, message.word(4) == transaction,
      message.station(28) == station, message.word(236) == 0x6382_5363, let yours = message.word(16)
    else { return }
    let options = Options(message.rest(240))
    guard let kind = options.kind else { return }
    switch (kind, state) {
    case (2, .selecting):
      guard let lease = Self.lease(yours, options) else { return }
      (offer, state, tries, due) = (lease, .requesting, 0, now)
    case (5, .requesting), (5, .renewing):
      guard let given = Self.lease(yours, options), state == .renewing || given.server == offer?.server else {
        return
      }
      lease = given
      (state, tries) = (.bound, 0)
      let length = UInt64(given.seconds) * Self.second
      ends = now &+ length
      due = now &+ length / 2
    case (6, .requesting), (6, .renewing):
      lease = nil
      restart()
    default: break
    }
  }

  private static func lease(_ address: UInt32, _ options: Options) -> Lease? {
    let address = IPv4Address(bits: address)
    guard address.isHost, let server = options.server else { return nil }
    let mask = options.mask ?? 0xffff_ff00
    // Ones, then zeros.
    guard ~mask & (~mask &+ 1) == 0 else { return nil }
    return Lease(
      address: address, prefix: mask.nonzeroBitCount, gateway: options.routers.first,
      resolvers: options.resolvers,
      server: server, seconds: max(options.seconds ?? 3600, 60))
  }

  private func bytes(_ address: IPv4Address) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(word: address.bits)
    return bytes
  }

  private func message(_ kind: UInt8, _ options: [UInt8], from own: IPv4Address = .any) -> [UInt8] {
    var message: [UInt8] = [1, 1, 6, 0]
    message.append(word: transaction)
    // The answer is to be sent to everybody: before it has come there is no address.
    message += [0, 0, 0x80, 0]
    message.append(word: own.bits)
    message += [UInt8](repeating: 0, count: 12)
    message.append(station)
    message += [UInt8](repeating: 0, count: 10 + 64 + 128)
    message.append(word: 0x6382_5363)
    message += [53, 1, kind]
    message += options
    message += [55, 3, 1, 3, 6, 255]
    // Some servers take no less.
    while message.count < 300 { message.append(0) }
    return message
  }

  /// Those that matter here (RFC 2132).
  private struct Options {
    var kind: UInt8?
    var mask: UInt32?
    var seconds: UInt32?
    var server: IPv4Address?
    var routers: [IPv4Address] = []
    var resolvers: [IPv4Address] = []

    init(_ bytes: ArraySlice<UInt8>) {
      var rest = bytes
      while let code = rest.byte(0), code != 255 {
        if code == 0 {
          rest = rest.rest(1)
          continue
        }
        guard let length = rest.byte(1), 2 + Int(length) <= rest.count else { return }
        let value = rest.rest(2).prefix(Int(length))
        switch code {
        case 1: mask = value.word(0)
        case 3: routers = Self.addresses(value)
        case 6: resolvers = Self.addresses(value)
        case 51: seconds = value.word(0)
        case 53: kind = value.byte(0)
        case 54: server = value.word(0).map { IPv4Address(bits: $0) }
        default: break
        }
        rest = rest.rest(2 + Int(length))
      }
    }
    private static func addresses(_ value: ArraySlice<UInt8>) -> [IPv4Address] {
      var found: [IPv4Address] = []
      while let word = value.word(found.count * 4), found.count < 4 { found.append(IPv4Address(bits: word)) }
      return found
    }
  }
}
