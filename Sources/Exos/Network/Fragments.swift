/// Puts fragments of IPv4 and IPv6 together again (RFC 791, RFC 8200 4.5). Bounded in number, bytes and time; a datagram whose
/// fragments overlap is thrown away whole (RFC 5722), for no honest sender makes such.
struct FragmentStore {
  struct Key: Equatable {
    var source: IPAddress
    var destination: IPAddress
    var identification: UInt32
    var proto: UInt8
  }
  private struct Datagram {
    let key: Key
    let due: UInt64
    var parts: [(offset: Int, bytes: [UInt8])] = []
    /// Known once the last fragment has come.
    var length: Int?
    /// A contradiction was found: what comes of it still is thrown away.
    var isBad = false
    var stored: Int { parts.reduce(0) { $0 + $1.bytes.count } }
  }
  private var datagrams: [Datagram] = []

  static let datagramLimit = 16
  static let partLimit = 64
  static let byteLimit = 65_535
  static let totalLimit = 1 << 18
  static let lifetime: UInt64 = 30_000_000_000

  var count: Int { datagrams.count }
  var bytes: Int { datagrams.reduce(0) { $0 + $1.stored } }

  /// Adds a fragment; returns the whole, once it is complete.
  mutating func add(
    _ key: Key, offset: Int, isLast: Bool, _ bytes: ArraySlice<UInt8>, at now: UInt64
  ) -> [UInt8]? {
    expire(at: now)
    guard bytes.count > 0, offset >= 0, offset + bytes.count <= Self.byteLimit, isLast || bytes.count % 8 == 0
    else { return nil }
    let index: Int
    if let known = datagrams.firstIndex(where: { $0.key == key }) {
      index = known
    } else {
      if datagrams.count >= Self.datagramLimit { datagrams.removeFirst() }
      datagrams.append(Datagram(key: key, due: now &+ Self.lifetime))
      index = datagrams.count - 1
    }
    guard !datagrams[index].isBad else { return nil }
    let end = offset + bytes.count
    // The same once more is no overlap.
    if datagrams[index].parts.contains(where: { $0.offset == offset && $0.bytes[...] == bytes }) {
      return nil
    }
    let overlaps = datagrams[index].parts.contains { $0.offset < end && offset < $0.offset + $0.bytes.count }
    let contradicts =
      isLast
      ? datagrams[index].length != nil || datagrams[index].parts.contains { $0.offset + $0.bytes.count > end }
      : datagrams[index].length.map { end > $0 } ?? false
    guard !overlaps, !contradicts, datagrams[index].parts.count < Self.partLimit else {
      datagrams[index].parts = []
      datagrams[index].isBad = true
      return nil
    }
    guard self.bytes + bytes.count <= Self.totalLimit else { return nil }
    datagrams[index].parts.append((offset, [UInt8](copying: bytes)))
    if isLast { datagrams[index].length = end }
    guard let length = datagrams[index].length, datagrams[index].stored == length else { return nil }
    // Nothing overlaps, nothing passes the end and nothing is missing.
    var whole: [UInt8] = []
    whole.reserveCapacity(length)
    for part in datagrams[index].parts.sorted(by: { $0.offset < $1.offset }) { whole += part.bytes }
    datagrams.remove(at: index)
    return whole
  }

  mutating func expire(at now: UInt64) { datagrams.removeAll { $0.due <= now } }
}
