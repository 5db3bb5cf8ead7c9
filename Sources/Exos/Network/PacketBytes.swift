/// Fields of a packet in network order. What lies past its end is nil, and offsets count from its first byte.
extension ArraySlice<UInt8> {
  func byte(_ offset: Int) -> UInt8? { offset < count ? self[startIndex + offset] : nil }
  func half(_ offset: Int) -> UInt16? {
    guard offset + 2 <= count else { return nil }
    return UInt16(self[startIndex + offset]) << 8 | UInt16(self[startIndex + offset + 1])
  }
  func word(_ offset: Int) -> UInt32? {
    guard let high = half(offset), let low = half(offset + 2) else { return nil }
    return UInt32(high) << 16 | UInt32(low)
  }
  func station(_ offset: Int) -> MACAddress? {
    guard let high = half(offset), let low = word(offset + 2) else { return nil }
    return MACAddress(bits: UInt64(high) << 32 | UInt64(low))
  }
  func wide(_ offset: Int) -> IPv6Address? {
    guard let a = word(offset), let b = word(offset + 4), let c = word(offset + 8), let d = word(offset + 12)
    else { return nil }
    return IPv6Address(high: UInt64(a) << 32 | UInt64(b), low: UInt64(c) << 32 | UInt64(d))
  }
  /// From an offset on; empty past the end.
  func rest(_ offset: Int) -> ArraySlice<UInt8> {
    offset <= count ? self[(startIndex + offset)...] : self[endIndex...]
  }
}

extension [UInt8] {
  mutating func append(half value: UInt16) {
    append(UInt8(value >> 8))
    append(UInt8(truncatingIfNeeded: value))
  }
  mutating func append(word value: UInt32) {
    append(half: UInt16(value >> 16))
    append(half: UInt16(truncatingIfNeeded: value))
  }
  mutating func append(_ station: MACAddress) {
    append(half: UInt16(truncatingIfNeeded: station.bits >> 32))
    append(word: UInt32(truncatingIfNeeded: station.bits))
  }
  mutating func append(_ address: IPv6Address) {
    for half in [address.high, address.low] {
      append(word: UInt32(half >> 32))
      append(word: UInt32(truncatingIfNeeded: half))
    }
  }
  mutating func set(half value: UInt16, at offset: Int) {
    self[offset] = UInt8(value >> 8)
    self[offset + 1] = UInt8(truncatingIfNeeded: value)
  }
}

/// The checksum of IP, ICMP, UDP (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words.
struct InternetChecksum {
  private var sum: UInt64 = 0

  /// Adds bytes; those before must have been an even number.
  mutating func add(_ bytes: ArraySlice<UInt8>) {
    var index = bytes.startIndex
    while index + 1 < bytes.endIndex {
      sum &+= UInt64(bytes[index]) << 8 | UInt64(bytes[index + 1])
      index += 2
    }
    if index < bytes.endIndex { sum &+= UInt64(bytes[index]) << 8 }
  }
  mutating func add(_ value: UInt32) { sum &+= UInt64(value >> 16) + UInt64(value & 0xffff) }
  mutating func add(_ address: IPv6Address) {
    for half in [address.high, address.low] {
      add(UInt32(half >> 32))
      add(UInt32(truncatingIfNeeded: half))
    }
  }
  var value: UInt16 {
    var folded = sum
    while folded >> 16 != 0 { folded = folded & 0xffff + folded >> 16 }
    return ~UInt16(truncatingIfNeeded: folded)
  }
  static func of(_ bytes: ArraySlice<UInt8>) -> UInt16 {
    var checksum = InternetChecksum()
    checksum.add(bytes)
    return checksum.value
  }
}

/// The header that IP lends to what it carries for their checksums.
enum PseudoHeader {
  static func checksum(
    from source: IPAddress, to destination: IPAddress, proto: UInt8, _ bytes: ArraySlice<UInt8>
  ) -> UInt16 {
    var checksum = InternetChecksum()
    for address in [source, destination] {
      switch address {
      case .v4(let four): checksum.add(four.bits)
      case .v6(let six): checksum.add(six)
      }
    }
    checksum.add(UInt32(bytes.count))
    checksum.add(UInt32(proto))
    checksum.add(bytes)
    return checksum.value
  }
}
