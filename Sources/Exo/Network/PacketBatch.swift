/// Several packets in one piece of memory.
public struct PacketBatch: Sendable {
  /// Invariant: has every range; what takes bytes away takes all ranges away.
  @usableFromInline var bytes: [UInt8] = []
  @usableFromInline private(set) var ranges: [Range<Int>] = []
  @inlinable public var count: Int { ranges.count }

  public init() {}

  /// From the first byte of its link-layer header on.
  @inlinable public func packet(_ index: Int) -> ArraySlice<UInt8> { bytes[ranges[index]] }

  /// Adds a packet behind those that are there.
  public mutating func append(_ packet: ArraySlice<UInt8>) {
    ranges.append(bytes.count..<bytes.count + packet.count)
    bytes += packet
  }

  /// Forgets the packets; so many bytes can be written over from now on.
  mutating func clear(room: Int) {
    ranges.removeAll(keepingCapacity: true)
    if room == 0 {
      bytes.removeAll(keepingCapacity: true)
    } else if bytes.count < room {
      bytes = [UInt8](repeating: 0, count: room)
    }
  }
  /// Says that bytes that were written are a packet.
  mutating func add(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "a packet outside of its batch")
    ranges.append(range)
  }

  /// Linux leaves checksums to whoever sends a packet on: sums what is to be summed, and stores it.
  mutating func completeChecksum(of range: Range<Int>, from start: Int, at offset: Int) {
    let (first, place) = (range.lowerBound + start, range.lowerBound + start + offset)
    guard first < range.upperBound, place + 2 <= range.upperBound else { return }
    var sum: UInt32 = 0
    for index in first..<range.upperBound {
      sum &+= (index - first) % 2 == 0 ? UInt32(bytes[index]) << 8 : UInt32(bytes[index])
    }
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    // 0 would say that there is none.
    let value = ~UInt16(truncatingIfNeeded: sum)
    bytes[place] = UInt8((value == 0 ? 0xffff : value) >> 8)
    bytes[place + 1] = UInt8(truncatingIfNeeded: value == 0 ? 0xffff : value)
  }
}
