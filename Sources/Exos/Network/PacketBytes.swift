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
  /// Room for a header, zeroed, and behind it the bytes of a slice, which are copied as a whole: Embedded Swift's own ways from a
  /// slice take them one by one.
  init(room: Int = 0, copying bytes: ArraySlice<UInt8>) {
    self = bytes.withUnsafeBytes { from in
      [UInt8](unsafeUninitializedCapacity: room + from.count) { to, count in
        let to = UnsafeMutableRawBufferPointer(to)
        for index in 0..<room { to[index] = 0 }
        UnsafeMutableRawBufferPointer(rebasing: to[room...]).copyMemory(from: from)
        count = room + from.count
      }
    }
  }
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
  mutating func set(word value: UInt32, at offset: Int) {
    set(half: UInt16(value >> 16), at: offset)
    set(half: UInt16(truncatingIfNeeded: value), at: offset + 2)
  }
  mutating func set(_ station: MACAddress, at offset: Int) {
    set(half: UInt16(truncatingIfNeeded: station.bits >> 32), at: offset)
    set(word: UInt32(truncatingIfNeeded: station.bits), at: offset + 2)
  }
  mutating func set(_ address: IPv6Address, at offset: Int) {
    for (index, half) in [address.high, address.low].enumerated() {
      set(word: UInt32(half >> 32), at: offset + index * 8)
      set(word: UInt32(truncatingIfNeeded: half), at: offset + index * 8 + 4)
    }
  }
}

/// The checksum of IP, ICMP, UDP (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words.
struct InternetChecksum {
  private var sum: UInt64 = 0

  /// Adds bytes; those before must have been an even number.
  mutating func add(_ bytes: ArraySlice<UInt8>) {
    let raw = bytes.span.bytes
    var offset = 0
    // Four words at a time (RFC 1071, 2 (A) and (C)): what their sum carries over counts at the other end, and the order of bytes
    // within each word can be mended at the end.
    var wide: UInt64 = 0
    while offset &+ 8 <= raw.byteCount {
      let (partial, carries) = wide.addingReportingOverflow(
        raw.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
      wide = partial &+ (carries ? 1 : 0)
      offset &+= 8
    }
    var folded = wide & 0xffff_ffff &+ wide >> 32
    while folded >> 16 != 0 { folded = folded & 0xffff &+ folded >> 16 }
    sum &+= UInt64(UInt16(truncatingIfNeeded: folded).bigEndian)
    while offset &+ 1 < raw.byteCount {
      sum &+=
        UInt64(raw.unsafeLoad(fromByteOffset: offset, as: UInt8.self)) << 8
        | UInt64(raw.unsafeLoad(fromByteOffset: offset &+ 1, as: UInt8.self))
      offset &+= 2
    }
    if offset < raw.byteCount { sum &+= UInt64(raw.unsafeLoad(fromByteOffset: offset, as: UInt8.self)) << 8 }
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
