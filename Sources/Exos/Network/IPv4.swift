/// IPv4 (RFC 791). Options are passed over, fragments put together; nothing is forwarded.
extension NetworkStack {
  func receiveIPv4(_ packet: ArraySlice<UInt8>, from station: MACAddress) {
    guard let first = packet.byte(0), first >> 4 == 4, case let header = Int(first & 15) * 4, header >= 20,
      let length = packet.half(2).map(Int.init), length >= header, length <= packet.count,
      let identification = packet.half(4), let flags = packet.half(6), let proto = packet.byte(9),
      let from = packet.word(12), let to = packet.word(16)
    else {
      counters.malformed &+= 1
      return
    }
    guard InternetChecksum.of(packet.prefix(header)) == 0 else {
      counters.badChecksums &+= 1
      return
    }
    let (source, destination) = (IPv4Address(bits: from), IPv4Address(bits: to))
    guard accepts(destination), source.isHost || source == .any, source != ipv4?.address else {
      counters.notForUs &+= 1
      return
    }
    let payload = packet.prefix(length).rest(header)
    let offset = Int(flags & 0x1fff) * 8
    let more = flags & 0x2000 != 0
    guard more || offset > 0 else {
      deliver(proto, payload, from: .v4(source), to: .v4(destination))
      return
    }
    let key = FragmentStore.Key(
      source: .v4(source), destination: .v4(destination), identification: UInt32(identification), proto: proto
    )
    if let whole = fragments.add(key, offset: offset, isLast: !more, payload, at: now) {
      deliver(proto, whole[...], from: .v4(source), to: .v4(destination))
    }
  }

  private func accepts(_ destination: IPv4Address) -> Bool {
    guard let ipv4 else { return destination == .broadcast || destination.isHost }
    return destination == ipv4.address || destination == .broadcast || destination == ipv4.directedBroadcast
  }

  func sendIPv4(
    _ proto: UInt8, _ payload: [UInt8], from source: IPv4Address?, to destination: IPv4Address, hops: UInt8
  ) throws(NetworkError) {
    guard payload.count <= 65_515 else { throw .tooLarge }
    let isEverybody = destination == .broadcast
    // Only who asks for an address may speak without one.
    guard let origin = source ?? ipv4?.address ?? (isEverybody ? .any : nil) else { throw .noAddress }
    let next: IPv4Address? = isEverybody || destination.isGroup ? nil : try nextHop(to: destination)
    identification &+= 1
    let room = (Self.mtu - 20) & ~7
    var offset = 0
    repeat {
      let isLast = payload.count - offset <= Self.mtu - 20
      let part = payload[offset..<(isLast ? payload.count : offset + room)]
      var packet = [UInt8](room: 20, copying: part)
      packet[0] = 0x45
      packet.set(half: UInt16(20 + part.count), at: 2)
      packet.set(half: identification, at: 4)
      packet.set(half: UInt16(offset / 8) | (isLast ? 0 : 0x2000), at: 6)
      packet[8] = hops
      packet[9] = proto
      packet.set(word: origin.bits, at: 12)
      packet.set(word: destination.bits, at: 16)
      packet.set(half: InternetChecksum.of(packet[..<20]), at: 10)
      if let next {
        emit(packet, toNeighbour: .v4(next))
      } else {
        emit(0x0800, to: isEverybody ? .broadcast : .group(destination), packet)
      }
      offset += part.count
    } while offset < payload.count
  }

  private func nextHop(to destination: IPv4Address) throws(NetworkError) -> IPv4Address? {
    guard let ipv4 else { throw .noAddress }
    if (destination.bits ^ ipv4.address.bits) & ipv4.mask == 0 {
      return destination == ipv4.directedBroadcast && ipv4.prefix < 31 ? nil : destination
    }
    guard let gateway = ipv4.gateway else { throw .noRoute }
    return gateway
  }
}
