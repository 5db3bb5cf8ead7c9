/// An Ethernet address.
public struct MACAddress: Equatable, Sendable {
  /// The six bytes as they are sent, the first highest, in the low 48 bits.
  public let bits: UInt64
  public init(bits: UInt64) { self.bits = bits & 0xffff_ffff_ffff }

  public static var broadcast: MACAddress { MACAddress(bits: 0xffff_ffff_ffff) }
  /// Whether it means several stations.
  public var isGroup: Bool { bits >> 40 & 1 != 0 }

  /// Where an IPv4 group's packets are sent (RFC 1112, 6.4).
  static func group(_ address: IPv4Address) -> MACAddress {
    MACAddress(bits: 0x0100_5e00_0000 | UInt64(address.bits & 0x7f_ffff))
  }
  /// Where an IPv6 group's packets are sent (RFC 2464, 7).
  public static func group(_ address: IPv6Address) -> MACAddress {
    MACAddress(bits: 0x3333_0000_0000 | address.low & 0xffff_ffff)
  }
}

/// An IPv4 address.
public struct IPv4Address: Equatable, Sendable {
  /// The first byte highest.
  public let bits: UInt32
  public init(bits: UInt32) { self.bits = bits }
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    bits = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
  }
  /// As written with dots; nil for anything else.
  public init?(_ text: String) {
    guard let bits = Self.parse(Array(text.utf8)[...]) else { return nil }
    self.bits = bits
  }
  fileprivate static func parse(_ text: ArraySlice<UInt8>) -> UInt32? {
    var bits: UInt32 = 0
    var (number, digits, parts): (UInt32, Int, Int) = (0, 0, 1)
    for byte in text {
      if byte == UInt8(ascii: ".") {
        guard digits > 0, parts < 4 else { return nil }
        bits = bits << 8 | number
        (number, digits, parts) = (0, 0, parts + 1)
      } else {
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), digits < 3 else { return nil }
        number = number * 10 + UInt32(byte - UInt8(ascii: "0"))
        guard number < 256 else { return nil }
        digits += 1
      }
    }
    guard parts == 4, digits > 0 else { return nil }
    return bits << 8 | number
  }

  public static var any: IPv4Address { IPv4Address(bits: 0) }
  public static var broadcast: IPv4Address { IPv4Address(bits: .max) }
  public var isGroup: Bool { bits >> 28 == 14 }
  /// Whether this can be somebody's own: no group, not all ones, not of network 0.
  var isHost: Bool { bits >> 28 < 14 && bits >> 24 != 0 }

  public var description: String {
    "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)"
  }
}

/// An IPv6 address.
public struct IPv6Address: Equatable, Sendable {
  /// The first byte highest in `high`.
  public let high: UInt64
  public let low: UInt64
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// As in RFC 4291, 2.2; nil for anything else. No zone.
  public init?(_ text: String) {
    var groups: [UInt16] = []
    var gap: Int?
    let bytes = Array(text.utf8)
    var at = 0
    if bytes.starts(with: [58, 58]) {
      gap = 0
      at = 2
    }
    while at < bytes.count {
      guard groups.count < 8 else { return nil }
      var end = at
      while end < bytes.count, bytes[end] != 58 { end += 1 }
      let part = bytes[at..<end]
      if end == bytes.count, groups.count <= 6, part.contains(46) {
        guard let four = IPv4Address.parse(part) else { return nil }
        groups += [UInt16(four >> 16), UInt16(four & 0xffff)]
        at = end
        break
      }
      guard (1...4).contains(part.count) else { return nil }
      var number: UInt16 = 0
      for byte in part {
        switch byte {
        case 48...57: number = number << 4 | UInt16(byte - 48)
        case 97...102: number = number << 4 | UInt16(byte - 87)
        case 65...70: number = number << 4 | UInt16(byte - 55)
        default: return nil
        }
      }
      groups.append(number)
      at = end
      if at < bytes.count {
        at += 1
        if at < bytes.count, bytes[at] == 58 {
          guard gap == nil else { return nil }
          gap = groups.count
          at += 1
        } else if at == bytes.count {
          return nil
        }
      }
    }
    if let gap {
      guard groups.count < 8 else { return nil }
      groups.insert(contentsOf: [UInt16](repeating: 0, count: 8 - groups.count), at: gap)
    }
    guard groups.count == 8 else { return nil }
    high = groups[0..<4].reduce(0) { $0 << 16 | UInt64($1) }
    low = groups[4..<8].reduce(0) { $0 << 16 | UInt64($1) }
  }

  public static var any: IPv6Address { IPv6Address(high: 0, low: 0) }
  public static var allNodes: IPv6Address { IPv6Address(high: 0xff02_0000_0000_0000, low: 1) }
  public static var allRouters: IPv6Address { IPv6Address(high: 0xff02_0000_0000_0000, low: 2) }
  public var isGroup: Bool { high >> 56 == 0xff }
  public var isLinkLocal: Bool { high >> 54 == 0x3fa }
  var isAny: Bool { high == 0 && low == 0 }

  /// The link-local address of a station (RFC 4291, appendix A).
  public static func linkLocal(_ mac: MACAddress) -> IPv6Address {
    let (upper, lower) = (mac.bits >> 24 ^ 0x02_0000, mac.bits & 0xff_ffff)
    return IPv6Address(high: 0xfe80_0000_0000_0000, low: upper << 40 | 0xff_fe00_0000 | lower)
  }
  /// The group of those whose address ends like this one (RFC 4291, 2.7.1).
  public var solicitedNode: IPv6Address {
    IPv6Address(high: 0xff02_0000_0000_0000, low: 0x1_ff00_0000 | low & 0xff_ffff)
  }

  /// As in RFC 5952.
  public var description: String {
    let groups: [UInt16] = (0..<8).map { index in
      let half: UInt64 = index < 4 ? high : low
      let shift: Int = (3 - index % 4) * 16
      return UInt16(truncatingIfNeeded: half >> shift)
    }
    var (best, length) = (0, 1)
    var at = 0
    while at < 8 {
      var end = at
      while end < 8, groups[end] == 0 { end += 1 }
      if end - at > length { (best, length) = (at, end - at) }
      at = max(end, at + 1)
    }
    func text(_ range: Range<Int>) -> String {
      var result = ""
      for index in range {
        if index > range.lowerBound { result += ":" }
        result += String(groups[index], radix: 16)
      }
      return result
    }
    return length < 2 ? text(0..<8) : text(0..<best) + "::" + text(best + length..<8)
  }
}

/// Either kind.
public enum IPAddress: Equatable, Sendable {
  case v4(IPv4Address)
  case v6(IPv6Address)

  public init?(_ text: String) {
    if let four = IPv4Address(text) {
      self = .v4(four)
    } else if let six = IPv6Address(text) {
      self = .v6(six)
    } else {
      return nil
    }
  }
  public var description: String {
    switch self {
    case .v4(let address): address.description
    case .v6(let address): address.description
    }
  }
}

/// Where a datagram comes from or goes.
public struct Endpoint: Equatable, Sendable {
  public var address: IPAddress
  public var port: UInt16
  public init(_ address: IPAddress, port: UInt16) {
    self.address = address
    self.port = port
  }
}
