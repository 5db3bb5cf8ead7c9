import Glibc

@testable import Exo

/// Filters and packets from small alphabets, so that they meet; the same for the same seed.
struct PacketMaker {
  var random: SplitMix
  init(seed: UInt64) { random = SplitMix(state: seed) }

  struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
      return z ^ z >> 31
    }
  }

  mutating func pick<T>(_ values: [T]) -> T { values[Int.random(in: 0..<values.count, using: &random)] }
  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

  static let ports: [UInt16] = [22, 53, 80, 443, 8080]
  static let hosts: [UInt32] = [0x0a00_0001, 0x0a00_0002, 0x0a01_0001, 0xc0a8_0001]
  static let wide = [
    IPv6Address(0xfe80, 0, 0, 0, 0, 0, 0, 1), IPv6Address(0xfe80, 0, 0, 0, 0, 0, 0, 2),
    IPv6Address(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1),
  ]
  static let stations = [MACAddress(2, 0, 0, 0, 0, 1), MACAddress(2, 0, 0, 0, 0, 2)]

  // --- filters

  mutating func filter() -> Filter {
    while true {
      // Some of the combinations contradict themselves.
      if let filter = try? chance(15) ? rawFilter() : typedFilter() { return filter }
    }
  }
  private mutating func typedFilter() throws(FilterError) -> Filter {
    var ethernet = Filter.ethernet
    if chance(20) { ethernet = ethernet.to(pick(Self.stations)) }
    if chance(10) { ethernet = ethernet.from(pick(Self.stations)) }
    if chance(20) { ethernet = ethernet.vlan(pick([1, 2, 5])) }
    if chance(15) { ethernet = ethernet.throughTags }
    switch Int.random(in: 0..<10, using: &random) {
    case 0: return try ethernet.filter
    case 1: return try ethernet.arp
    case 2...6:
      var ip = ethernet.ipv4
      if chance(30) {
        ip = ip.to(IPv4Address(bits: pick(Self.hosts)), prefix: pick([8, 16, 24, 32, 32, 32]))
      }
      if chance(30) { ip = ip.from(IPv4Address(bits: pick(Self.hosts)), prefix: pick([8, 32, 32])) }
      // A header's length that the filter asks for itself.
      if chance(10) {
        return try ip.tcp(destinationPort: maybePort()).and(
          offset: 14, width: 1, equals: pick([0x45, 0x46, 0x05]))
      }
      switch Int.random(in: 0..<6, using: &random) {
      case 0: return try ip.filter
      case 1: return try ip.icmp(type: chance(50) ? pick([0, 8]) : nil)
      case 2: return try ip.proto(pick([1, 6, 17, 132]))
      case 3: return try ip.udp(sourcePort: maybePort(), destinationPort: maybePort())
      default: return try ip.tcp(sourcePort: maybePort(), destinationPort: maybePort())
      }
    default:
      var ip = ethernet.ipv6
      if chance(30) { ip = ip.to(pick(Self.wide), prefix: pick([10, 64, 100, 128])) }
      if chance(20) { ip = ip.from(pick(Self.wide), prefix: pick([0, 64, 128])) }
      switch Int.random(in: 0..<4, using: &random) {
      case 0: return try ip.filter
      case 1: return try ip.icmp(type: chance(50) ? 128 : nil)
      case 2: return try ip.udp(destinationPort: maybePort())
      default: return try ip.tcp(sourcePort: maybePort(), destinationPort: maybePort())
      }
    }
  }
  private mutating func maybePort() -> UInt16? { chance(60) ? pick(Self.ports) : nil }

  /// Anything that the language allows, meaningful or not.
  private mutating func rawFilter() throws(FilterError) -> Filter {
    var steps: [Filter.Step] = []
    for _ in 0..<Int.random(in: 0...6, using: &random) {
      if chance(20) {
        steps.append(
          .advance(
            pick([
              .headerLength(
                offset: Int.random(in: 0...20, using: &random), mask: pick([0x0f, 0xf0, 0xff]),
                shift: pick([2, -2, 0, 3])),
              .vlanTags(offset: 12), .extensionHeaders(offset: 14),
            ])))
      } else {
        let width = pick([1, 2, 4])
        let mask: UInt32 = chance(40) ? .max : UInt32(truncatingIfNeeded: random.next())
        let value: UInt32 = chance(50) ? pick([0, 1, 2, 6]) : UInt32(truncatingIfNeeded: random.next())
        steps.append(
          .compare(
            FilterField(
              offset: Int.random(in: 0...40, using: &random), width: width, mask: chance(30) ? 1 : mask),
            value))
      }
    }
    return try Filter(steps)
  }

  // --- packets

  /// Something like a frame of some kind, some of them damaged or cut short.
  mutating func packet() -> [UInt8] {
    var bytes = frame()
    if chance(15), !bytes.isEmpty {
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8(truncatingIfNeeded: random.next())
      }
    }
    if chance(20) { bytes.removeLast(Int.random(in: 0...bytes.count, using: &random)) }
    return bytes
  }
  private func big(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64((count - 1 - $0) * 8)) }
  }
  private mutating func frame() -> [UInt8] {
    var bytes = big(pick(Self.stations).bits, 6) + big(pick(Self.stations).bits, 6)
    for _ in 0..<pick([0, 0, 0, 1, 1, 2, 3]) {
      bytes += big(pick([0x8100, 0x8100, 0x88a8]), 2) + big(pick([1, 2, 5, 0x2001]), 2)
    }
    switch Int.random(in: 0..<10, using: &random) {
    case 0: return bytes + big(0x0806, 2) + big(random.next(), 8)
    case 1...6: return bytes + big(0x0800, 2) + ipv4()
    default: return bytes + big(0x86dd, 2) + ipv6()
    }
  }
  private mutating func transport() -> [UInt8] {
    big(UInt64(pick(Self.ports)), 2) + big(UInt64(pick(Self.ports)), 2) + big(random.next(), 8)
  }
  private mutating func ipv4() -> [UInt8] {
    let words = pick([5, 5, 5, 6, 8, 15, 0])
    var header = [UInt8(0x40 | words), 0] + big(60, 2) + big(random.next(), 2)
    header += big(chance(20) ? UInt64(pick([1, 0x2001, 0x4000, 0x2000])) : 0, 2)
    header += [64, pick([1, 6, 6, 17, 17, 132])] + big(0, 2)
    header += big(UInt64(pick(Self.hosts)), 4) + big(UInt64(pick(Self.hosts)), 4)
    if words > 5 { header += [UInt8](repeating: 1, count: (words - 5) * 4) }
    return header + transport()
  }
  private mutating func ipv6() -> [UInt8] {
    var chain: [UInt8] = []
    for _ in 0..<pick([0, 0, 1, 2, 3, 7, 8, 9]) { chain.append(pick([0, 43, 60, 51, 44])) }
    chain.append(pick([6, 6, 17, 58, 59]))
    var bytes: [UInt8] = [0x60, 0, 0, 0] + big(60, 2) + [chain[0], 64]
    for address in [pick(Self.wide), pick(Self.wide)] {
      for word in address.words { bytes += big(UInt64(word), 4) }
    }
    for (kind, next) in zip(chain, chain.dropFirst()) {
      switch kind {
      case 44: bytes += [next, 0] + (chance(80) ? [0, 1] : big(random.next(), 2)) + big(random.next(), 4)
      case 51:
        let words = pick([1, 4])
        bytes += [next, UInt8(words)] + [UInt8](repeating: 7, count: 6 + words * 4)
      default:
        let units = pick([0, 0, 1, 2])
        bytes += [next, UInt8(units)] + [UInt8](repeating: 1, count: 6 + units * 8)
      }
    }
    return bytes + transport()
  }
}

/// A packet whose last byte is the last that may be read: the page after it may not be touched.
final class EdgeOfMemory {
  private let base: UnsafeMutableRawPointer
  private static let size = 65_536
  init() {
    base = mmap(nil, Self.size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    mprotect(base + Self.size, 4096, PROT_NONE)
  }
  deinit { munmap(base, Self.size + 4096) }

  func withPacket<R>(_ bytes: [UInt8], _ body: (Span<UInt8>) -> R) -> R {
    let start = base + Self.size - bytes.count
    bytes.withUnsafeBytes {
      if let address = $0.baseAddress { start.copyMemory(from: address, byteCount: bytes.count) }
    }
    let buffer = UnsafeBufferPointer(start: start.assumingMemoryBound(to: UInt8.self), count: bytes.count)
    return body(buffer.span)
  }
}
