/// A filter in the making, at the link layer: `.ethernet` and what is said of it. Each member says something more; a member
/// that ends a filter gives the filter.
public struct EthernetFilter: Sendable {
  var steps: [Filter.Step] = []
  /// Where the EtherType is.
  var typeOffset = 12

  private func and(_ fields: [(Int, Int, UInt32, UInt32)]) -> Self {
    var result = self
    result.steps += fields.map { .compare(FilterField(offset: $0.0, width: $0.1, mask: $0.2), $0.3) }
    return result
  }

  /// To this address only.
  public func to(_ address: MACAddress) -> Self { and(address.fields(at: 0)) }
  /// From this address only.
  public func from(_ address: MACAddress) -> Self { and(address.fields(at: 6)) }
  /// With a tag of this virtual network, 0 to 4095, outermost.
  public func vlan(_ number: UInt16) -> Self {
    var result = and([(typeOffset, 2, 0xffff, 0x8100), (typeOffset + 2, 2, 0x0fff, UInt32(number & 0x0fff))])
    result.typeOffset += 4
    return result
  }
  /// With any tags or none; at most two are looked through.
  public var throughTags: Self {
    var result = self
    result.steps.append(.advance(.vlanTags(offset: typeOffset)))
    return result
  }
  /// With this EtherType.
  public func type(_ type: UInt16) throws(FilterError) -> Filter {
    try Filter(and([(typeOffset, 2, 0xffff, UInt32(type))]).steps)
  }
  public var arp: Filter { get throws(FilterError) { try type(0x0806) } }
  public var ipv4: IPv4Filter {
    IPv4Filter(steps: and([(typeOffset, 2, 0xffff, 0x0800)]).steps, header: typeOffset + 2)
  }
  public var ipv6: IPv6Filter {
    IPv6Filter(steps: and([(typeOffset, 2, 0xffff, 0x86dd)]).steps, header: typeOffset + 2)
  }
  /// What has been said so far, as a filter.
  public var filter: Filter { get throws(FilterError) { try Filter(steps) } }
}

extension Filter {
  /// Every Ethernet frame, to be narrowed.
  public static var ethernet: EthernetFilter { EthernetFilter() }

  /// The same, and this of the bytes from the packet's first on.
  ///
  /// - Parameters:
  ///   - offset: bytes from where the filter has come to.
  ///   - width: of the field: 1, 2 or 4 bytes in network order.
  ///   - mask: the bits that count.
  ///   - value: what they must be.
  public func and(offset: Int, width: Int, mask: UInt32 = .max, equals value: UInt32) throws(FilterError)
    -> Filter
  {
    guard offset >= 0 else { throw .badField(offset: offset, width: width) }
    return try Filter([.compare(FilterField(offset: offset, width: width, mask: mask), value)] + steps)
  }
}

/// A filter in the making, at IPv4.
public struct IPv4Filter: Sendable {
  var steps: [Filter.Step]
  /// Where the header begins.
  var header: Int

  private func and(_ offset: Int, _ width: Int, _ mask: UInt32 = .max, _ value: UInt32) -> Self {
    var result = self
    result.steps.append(
      .compare(FilterField(offset: header + offset, width: width, mask: mask), value & mask))
    return result
  }

  /// From an address, or from those that share its first `prefix` bits.
  public func from(_ address: IPv4Address, prefix: Int = 32) -> Self {
    and(12, 4, IPv4Address.mask(prefix), address.bits)
  }
  /// To an address, or to those that share its first `prefix` bits.
  public func to(_ address: IPv4Address, prefix: Int = 32) -> Self {
    and(16, 4, IPv4Address.mask(prefix), address.bits)
  }
  /// Of this protocol.
  public func proto(_ number: UInt8) throws(FilterError) -> Filter {
    try Filter(and(9, 1, 0xff, UInt32(number)).steps)
  }
  public func tcp(sourcePort: UInt16? = nil, destinationPort: UInt16? = nil) throws(FilterError) -> Filter {
    try transport(6, ports(sourcePort, destinationPort))
  }
  public func udp(sourcePort: UInt16? = nil, destinationPort: UInt16? = nil) throws(FilterError) -> Filter {
    try transport(17, ports(sourcePort, destinationPort))
  }
  public func icmp(type: UInt8? = nil) throws(FilterError) -> Filter {
    try transport(
      1, type.map { [.compare(FilterField(offset: header, width: 1, mask: 0xff), UInt32($0))] } ?? [])
  }
  public var filter: Filter { get throws(FilterError) { try Filter(steps) } }

  private func ports(_ source: UInt16?, _ destination: UInt16?) -> [Filter.Step] {
    portSteps(header, source, destination)
  }

  /// What is said of the transport header holds for whole packets and first fragments: only they have one. Offsets in it
  /// count from where it would be if the IPv4 header had no length.
  private func transport(_ number: UInt32, _ more: [Filter.Step]) throws(FilterError) -> Filter {
    var result = and(9, 1, 0xff, number)
    if !more.isEmpty {
      result = result.and(6, 2, 0x1fff, 0)
      result.steps.append(.advance(.headerLength(offset: header, mask: 0x0f, shift: 2)))
      result.steps += more
    }
    return try Filter(result.steps)
  }
}

/// A filter in the making, at IPv6.
public struct IPv6Filter: Sendable {
  var steps: [Filter.Step]
  var header: Int

  /// From an address, or from those that share its first `prefix` bits.
  public func from(_ address: IPv6Address, prefix: Int = 128) -> Self { and(8, address, prefix) }
  /// To an address, or to those that share its first `prefix` bits.
  public func to(_ address: IPv6Address, prefix: Int = 128) -> Self { and(24, address, prefix) }
  public func tcp(sourcePort: UInt16? = nil, destinationPort: UInt16? = nil) throws(FilterError) -> Filter {
    try transport(6, portSteps(0, sourcePort, destinationPort))
  }
  public func udp(sourcePort: UInt16? = nil, destinationPort: UInt16? = nil) throws(FilterError) -> Filter {
    try transport(17, portSteps(0, sourcePort, destinationPort))
  }
  public func icmp(type: UInt8? = nil) throws(FilterError) -> Filter {
    try transport(58, type.map { [.compare(FilterField(offset: 0, width: 1, mask: 0xff), UInt32($0))] } ?? [])
  }
  /// Of this protocol, whichever extension headers come before it.
  public func proto(_ number: UInt8) throws(FilterError) -> Filter { try transport(UInt32(number), []) }
  public var filter: Filter { get throws(FilterError) { try Filter(steps) } }

  private func and(_ offset: Int, _ address: IPv6Address, _ prefix: Int) -> Self {
    var result = self
    for (index, word) in address.words.enumerated() {
      let mask = IPv4Address.mask(min(max(prefix - index * 32, 0), 32))
      result.steps.append(
        .compare(FilterField(offset: header + offset + index * 4, width: 4, mask: mask), word & mask))
    }
    return result
  }
  private func transport(_ number: UInt32, _ more: [Filter.Step]) throws(FilterError) -> Filter {
    try Filter(
      steps + [.advance(.extensionHeaders(offset: header)), .compare(.headerProtocol, number)] + more)
  }
}

/// TCP and UDP begin with source and destination port.
private func portSteps(_ offset: Int, _ source: UInt16?, _ destination: UInt16?) -> [Filter.Step] {
  [(0, source), (2, destination)].compactMap { place, port in
    port.map { .compare(FilterField(offset: offset + place, width: 2, mask: 0xffff), UInt32($0)) }
  }
}
