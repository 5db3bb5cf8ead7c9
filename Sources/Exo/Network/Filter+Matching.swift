/// What a filter means: the definition that the merged structure and the compiled code are tested against.
extension Filter {
  /// Whether a packet, from the first byte of its link-layer header, matches.
  public func matches(_ packet: Span<UInt8>) -> Bool {
    var cursor = PacketCursor()
    for step in steps {
      switch step {
      case .compare(let field, let value):
        guard cursor.read(field, of: packet) == value else { return false }
      case .advance(let advance):
        guard cursor.move(advance, in: packet) else { return false }
      }
    }
    return true
  }
}

/// A place in a packet from which offsets count.
struct PacketCursor: Hashable {
  private(set) var base = 0
  private(set) var headerProtocol: UInt8 = 0

  static let tagLimit = 2
  /// One more than the extension headers that are passed.
  static let extensionLimit = 8

  /// The field under its mask; nil if the packet ends before that.
  func read(_ field: FilterField, of packet: Span<UInt8>) -> UInt32? {
    if field.isProtocol { return UInt32(headerProtocol) & field.mask }
    let first = base + field.offset
    guard first + field.width <= packet.count else { return nil }
    var value: UInt32 = 0
    for index in 0..<field.width { value = value << 8 | UInt32(packet[first + index]) }
    return value & field.mask
  }

  private func byte(_ offset: Int, of packet: Span<UInt8>) -> Int? {
    base + offset < packet.count ? Int(packet[base + offset]) : nil
  }

  /// False if the packet ends before what has to be read, or leads nowhere.
  mutating func move(_ advance: FilterAdvance, in packet: Span<UInt8>) -> Bool {
    switch advance {
    case .headerLength(let offset, let mask, let shift):
      guard let value = byte(offset, of: packet) else { return false }
      base += shift >= 0 ? (value & Int(mask)) << shift : (value & Int(mask)) >> -shift
      return true
    case .vlanTags(let offset):
      for _ in 0..<Self.tagLimit {
        let type = FilterField(offset: offset, width: 2, mask: 0xffff)
        guard let value = read(type, of: packet) else { return false }
        guard value == 0x8100 || value == 0x88a8 else { break }
        base += 4
      }
      return true
    case .extensionHeaders(let offset): return skipExtensions(offset, in: packet)
    }
  }

  /// RFC 8200, section 4, and RFC 4302 for the authentication header, whose length counts in words of four bytes.
  private mutating func skipExtensions(_ offset: Int, in packet: Span<UInt8>) -> Bool {
    guard base + offset + 40 <= packet.count, var next = byte(offset + 6, of: packet) else { return false }
    base += offset + 40
    for _ in 0..<Self.extensionLimit {
      let unit: Int
      switch next {
      case 0, 43, 60: unit = 8
      case 51: unit = 4
      case 44: unit = 0
      default:
        headerProtocol = UInt8(next)
        return true
      }
      guard base + 8 <= packet.count, let following = byte(0, of: packet), let length = byte(1, of: packet),
        let high = byte(2, of: packet), let low = byte(3, of: packet)
      else { return false }
      if unit == 0 {
        // A fragment: only the first has what follows.
        guard high == 0, low & 0xf8 == 0 else { return false }
      }
      base += 8 + length * unit
      next = following
    }
    return false
  }
}
