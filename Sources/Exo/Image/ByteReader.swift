/// A cursor over part of a byte array, little-endian. Every read is checked: past the end it gives nil and the
/// cursor stays where it was, whatever the bytes say.
struct ByteReader {
  let bytes: [UInt8]
  private(set) var position: Int
  let end: Int

  /// Reads `range` of `bytes`, or what of it exists.
  init(_ bytes: [UInt8], in range: Range<Int>) {
    let range = range.clamped(to: 0..<bytes.count)
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  init(_ bytes: [UInt8]) { self.init(bytes, in: 0..<bytes.count) }

  var remaining: Int { end - position }
  var isAtEnd: Bool { position >= end }

  mutating func u8() -> UInt8? {
    guard position < end else { return nil }
    defer { position += 1 }
    return bytes[position]
  }

  mutating func u16() -> UInt16? { word(2).map { UInt16(truncatingIfNeeded: $0) } }
  mutating func u32() -> UInt32? { word(4).map { UInt32(truncatingIfNeeded: $0) } }
  mutating func u64() -> UInt64? { word(8) }

  /// An unsigned number of `size` bytes, 1 to 8.
  mutating func word(_ size: Int) -> UInt64? {
    guard size <= remaining else { return nil }
    var value: UInt64 = 0
    for index in 0..<size { value |= UInt64(bytes[position + index]) << UInt64(8 * index) }
    position += size
    return value
  }

  mutating func skip(_ count: Int) -> Bool {
    guard count >= 0, count <= remaining else { return false }
    position += count
    return true
  }

  mutating func skip(_ count: UInt64) -> Bool {
    guard let count = Int(exactly: count) else { return false }
    return skip(count)
  }

  /// Splits off a reader of the next `count` bytes and moves past them.
  mutating func slice(_ count: UInt64) -> ByteReader? {
    let start = position
    guard skip(count) else { return nil }
    return ByteReader(bytes, in: start..<position)
  }

  /// A LEB128 number. Bits past the 64th are dropped.
  mutating func uleb() -> UInt64? {
    var cursor = self
    guard let (value, _) = cursor.leb() else { return nil }
    self = cursor
    return value
  }

  mutating func sleb() -> Int64? {
    var cursor = self
    guard let (value, bits) = cursor.leb() else { return nil }
    self = cursor
    guard bits < 64 else { return Int64(bitPattern: value) }
    let shift = UInt64(64 - bits)
    return Int64(bitPattern: value << shift) >> Int64(shift)
  }

  private mutating func leb() -> (value: UInt64, bits: Int)? {
    var value: UInt64 = 0
    var bits = 0
    while let byte = u8() {
      if bits < 64 { value |= UInt64(byte & 0x7f) << UInt64(bits) }
      bits = min(bits + 7, 70)
      if byte & 0x80 == 0 { return (value, bits) }
    }
    return nil
  }

  /// The longest string that is read: names and paths are shorter, and garbage costs no more than this.
  static let stringLimit = 4096

  /// The text up to the next NUL, and moves past it; nil if that is too far.
  mutating func string() -> String? {
    let limit = min(remaining, Self.stringLimit)
    guard let stop = bytes[position..<(position + limit)].firstIndex(of: 0) else { return nil }
    defer { position = stop + 1 }
    return String(decoding: bytes[position..<stop], as: UTF8.self)
  }

  mutating func skipString() -> Bool {
    guard let stop = bytes[position..<end].firstIndex(of: 0) else { return false }
    position = stop + 1
    return true
  }
}
