/// IPv6 (RFC 8200). Extension headers are passed over as far as they may be, fragments put together; nothing is forwarded.
extension NetworkStack {
  func receiveIPv6(_ packet: ArraySlice<UInt8>, from station: MACAddress) {
    guard let first = packet.byte(0), first >> 4 == 6, let length = packet.half(4).map(Int.init),
      40 + length <= packet.count, let next = packet.byte(6), let hops = packet.byte(7),
      let source = packet.wide(8), let destination = packet.wide(24)
    else {
      counters.malformed &+= 1
      return
    }
    guard accepts(destination), !source.isGroup, !ipv6.contains(source) else {
      counters.notForUs &+= 1
      return
    }
    var payload = packet.prefix(40 + length).rest(40)
    var proto = next
    // Each takes eight bytes at least, so this ends.
    while true {
      switch proto {
      case 0, 43, 60:
        guard let following = payload.byte(0), let units = payload.byte(1),
          case let size = (Int(units) + 1) * 8, size <= payload.count
        else {
          counters.malformed &+= 1
          return
        }
        // A routing header with hops left is for somebody else.
        if proto == 43, payload.byte(3) != 0 {
          counters.notForUs &+= 1
          return
        }
        (proto, payload) = (following, payload.rest(size))
      case 44:
        guard let following = payload.byte(0), let place = payload.half(2), let number = payload.word(4)
        else {
          counters.malformed &+= 1
          return
        }
        let key = FragmentStore.Key(
          source: .v6(source), destination: .v6(destination), identification: number, proto: following)
        let part = payload.rest(8)
        guard
          let whole = place & 0xfff9 == 0
            ? Array(part)
            : fragments.add(key, offset: Int(place & 0xfff8), isLast: place & 1 == 0, part, at: now)
        else { return }
        // One fragment header is enough.
        guard following != 44 else {
          counters.malformed &+= 1
          return
        }
        (proto, payload) = (following, whole[...])
      default:
        // What neighbours say is only true if no router passed it on.
        if proto == 58, let type = payload.byte(0), (133...137).contains(type), hops != 255 {
          counters.malformed &+= 1
          return
        }
        deliver(proto, payload, from: .v6(source), to: .v6(destination))
        return
      }
    }
  }

  private func accepts(_ destination: IPv6Address) -> Bool {
    if destination == .allNodes { return true }
    return ipv6.contains { $0 == destination || $0.solicitedNode == destination }
  }

  /// The address of this host that suits a destination: of its network if there is one, else the widest.
  func source6(for destination: IPv6Address) -> IPv6Address {
    if destination.isLinkLocal || destination.isGroup { return ipv6[0] }
    return ipv6.last { $0.high == destination.high } ?? ipv6[ipv6.count - 1]
  }

  func sendIPv6(
    _ proto: UInt8, _ payload: [UInt8], from source: IPv6Address?, to destination: IPv6Address, hops: UInt8
  ) throws(NetworkError) {
    guard payload.count <= 65_535 else { throw .tooLarge }
    let origin = source ?? source6(for: destination)
    let isNear = destination.isLinkLocal || ipv6.contains { $0.high == destination.high }
    var next: IPv6Address?
    if !destination.isGroup {
      guard let hop = isNear ? destination : gateway6 else { throw .noRoute }
      next = hop
    }
    func emit(_ proto: UInt8, _ payload: [UInt8]) {
      var packet = [UInt8](room: 40, copying: payload[...])
      packet[0] = 0x60
      packet.set(half: UInt16(payload.count), at: 4)
      packet[6] = proto
      packet[7] = hops
      packet.set(origin, at: 8)
      packet.set(destination, at: 24)
      if let next {
        self.emit(packet, toNeighbour: .v6(next))
      } else {
        self.emit(0x86dd, to: .group(destination), packet)
      }
    }
    guard payload.count > Self.mtu - 40 else {
      emit(proto, payload)
      return
    }
    identification &+= 1
    let room = (Self.mtu - 48) & ~7
    var offset = 0
    while offset < payload.count {
      let end = min(offset + room, payload.count)
      var part = [UInt8](room: 8, copying: payload[offset..<end])
      part[0] = proto
      part.set(half: UInt16(offset) | (end < payload.count ? 1 : 0), at: 2)
      part.set(word: UInt32(identification), at: 4)
      emit(44, part)
      offset = end
    }
  }
}
