import ExoABI

/// A filter as the exokernel takes it: masked comparisons at offsets that are constant or follow from header fields
/// (exo_abi.h has the form). What is claimed or sent by it matches all of them.
///
///     try ring.claim(.to(station).udp(port: 7), under: capability)
public struct PacketFilter: Sendable {
  public private(set) var steps: [exo_filter_step] = []
  /// Whether offsets already count from a transport header.
  public init() {}

  private func with(
    _ operation: Int32, width: UInt8 = 0, offset: UInt16 = 0, mask: UInt32 = 0, value: UInt32 = 0
  ) -> PacketFilter {
    var result = self
    result.steps.append(
      exo_filter_step(
        operation: UInt8(truncatingIfNeeded: operation), width: width, offset: offset, mask: mask,
        value: value))
    return result
  }

  /// `width` bytes (1, 2 or 4) at an offset, in network order, under a mask are a value.
  public func bytes(_ width: UInt8, at offset: UInt16, mask: UInt32 = .max, are value: UInt32) -> PacketFilter
  {
    with(EXO_FILTER_COMPARE, width: width, offset: offset, mask: mask, value: value)
  }
  private func station(_ station: MACAddress, at offset: UInt16) -> PacketFilter {
    bytes(4, at: offset, are: UInt32(station.bits >> 16))
      .bytes(2, at: offset + 4, mask: 0xffff, are: UInt32(station.bits & 0xffff))
  }

  /// Every packet, to be narrowed.
  public static var everything: PacketFilter { PacketFilter() }
  public static func to(_ station: MACAddress) -> PacketFilter { PacketFilter().station(station, at: 0) }
  public static func from(_ station: MACAddress) -> PacketFilter { PacketFilter().station(station, at: 6) }

  public func type(_ type: UInt16) -> PacketFilter { bytes(2, at: 12, mask: 0xffff, are: UInt32(type)) }
  /// An ARP packet about this address.
  public func arp(for address: IPv4Address) -> PacketFilter {
    type(0x0806).bytes(4, at: 38, are: address.bits)
  }
  /// IPv4 from this address.
  public func from(_ address: IPv4Address) -> PacketFilter {
    type(0x0800).bytes(4, at: 26, are: address.bits)
  }
  /// UDP over IPv4 to this port, in whole packets and first fragments.
  public func udp(port: UInt16) -> PacketFilter {
    type(0x0800).bytes(1, at: 23, mask: 0xff, are: 17).bytes(2, at: 20, mask: 0x1fff, are: 0)
      .with(EXO_FILTER_HEADER, offset: 14, mask: 0x0f, value: 2)
      .bytes(2, at: 16, mask: 0xffff, are: UInt32(port))
  }
  /// What a DHCP server says to a station that has no address yet, to everybody.
  public static func dhcp(for station: MACAddress) -> PacketFilter {
    // Behind the headers of Ethernet, IPv4 with its options, and UDP: the client's hardware address.
    PacketFilter.to(.broadcast).udp(port: DHCPClient.clientPort).station(station, at: 14 + 8 + 28)
  }
}
