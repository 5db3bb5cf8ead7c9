/// Who on the link has which address: learnt by ARP (RFC 826) and neighbour discovery (RFC 4861). What is to be sent to somebody
/// not known yet waits, a little of it, while he is asked for.
struct NeighbourTable {
  struct Neighbour {
    let address: IPAddress
    var station: MACAddress?
    /// When it is forgotten, or asked for again.
    var due: UInt64
    var tries = 0
    /// Packets from the network header on, with their EtherTypes.
    var waiting: [[UInt8]] = []
  }
  private(set) var entries: [Neighbour] = []

  static let limit = 64
  static let waitingLimit = 4
  static let lifetime: UInt64 = 60_000_000_000
  static let interval: UInt64 = 1_000_000_000
  static let triesLimit = 3

  func station(of address: IPAddress, at now: UInt64) -> MACAddress? {
    entries.first { $0.address == address && $0.due > now }?.station
  }

  /// Learns who has an address. Only known or asked-for ones change unless `isNew` allows for a new one. Returns what waited.
  mutating func learn(
    _ address: IPAddress, _ station: MACAddress, at now: UInt64, orAdd isNew: Bool
  ) -> [[UInt8]] {
    guard !station.isGroup, station.bits != 0 else { return [] }
    let due = now &+ Self.lifetime
    if let index = entries.firstIndex(where: { $0.address == address }) {
      let waiting = entries[index].waiting
      entries[index] = Neighbour(address: address, station: station, due: due)
      return waiting
    }
    if isNew { add(Neighbour(address: address, station: station, due: due)) }
    return []
  }

  /// Has a packet wait. Returns whether the neighbour is to be asked for now.
  mutating func wait(for address: IPAddress, _ packet: [UInt8], at now: UInt64) -> Bool {
    if let index = entries.firstIndex(where: { $0.address == address && $0.station == nil }) {
      if entries[index].waiting.count < Self.waitingLimit { entries[index].waiting.append(packet) }
      return false
    }
    entries.removeAll { $0.address == address }
    add(
      Neighbour(
        address: address, station: nil, due: now &+ Self.interval, tries: 1, waiting: [packet]))
    return true
  }

  /// Those to be asked for again; who does not answer is given up, and what waited for him.
  mutating func retries(at now: UInt64) -> [IPAddress] {
    var again: [IPAddress] = []
    entries.removeAll { $0.due <= now && ($0.station != nil || $0.tries >= Self.triesLimit) }
    for index in entries.indices where entries[index].due <= now {
      entries[index].tries += 1
      entries[index].due = now &+ Self.interval
      again.append(entries[index].address)
    }
    return again
  }

  /// When `retries` has something to do next.
  var due: UInt64 {
    entries.reduce(.max) { $1.station == nil ? min($0, $1.due) : $0 }
  }

  private mutating func add(_ neighbour: Neighbour) {
    if entries.count >= Self.limit { entries.removeFirst() }
    entries.append(neighbour)
  }
}
