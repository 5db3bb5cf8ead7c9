/// An Ethernet address.
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
  /// The six bytes as they are sent, the first highest, in the low 48 bits.
  public let bits: UInt64
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, _ e: UInt8, _ f: UInt8) {
    bits = [a, b, c, d, e, f].reduce(0) { $0 << 8 | UInt64($1) }
  }
  public var description: String {
    (0..<6).map { hexadecimalByte(bits >> UInt64(40 - $0 * 8)) }.joined(separator: ":")
  }
  func fields(at offset: Int) -> [(Int, Int, UInt32, UInt32)] {
    [
      (offset, 4, .max, UInt32(truncatingIfNeeded: bits >> 16)),
      (offset + 4, 2, 0xffff, UInt32(truncatingIfNeeded: bits & 0xffff)),
    ]
  }
}

public struct IPv4Address: Hashable, Sendable, CustomStringConvertible {
  /// The first byte highest.
  public let bits: UInt32
  public init(bits: UInt32) { self.bits = bits }
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    bits = [a, b, c, d].reduce(0) { $0 << 8 | UInt32($1) }
  }
  public var description: String {
    (0..<4).map { String(bits >> UInt32(24 - $0 * 8) & 0xff) }.joined(separator: ".")
  }
  /// The first `prefix` bits of 32; clamped.
  static func mask(_ prefix: Int) -> UInt32 { prefix <= 0 ? 0 : ~UInt32(0) << UInt32(32 - min(prefix, 32)) }
}

public struct IPv6Address: Hashable, Sendable {
  /// The first byte highest in the first.
  public let words: [UInt32]
  /// Eight groups of 16 bits, as they are written between colons.
  public init(
    _ a: UInt16, _ b: UInt16, _ c: UInt16, _ d: UInt16, _ e: UInt16, _ f: UInt16, _ g: UInt16, _ h: UInt16
  ) {
    let groups = [a, b, c, d, e, f, g, h]
    words = stride(from: 0, to: 8, by: 2).map { UInt32(groups[$0]) << 16 | UInt32(groups[$0 + 1]) }
  }
}

private func hexadecimalByte(_ value: UInt64) -> String {
  let text = String(value & 0xff, radix: 16)
  return text.count < 2 ? "0" + text : text
}
