/// Address resolution for IPv4 (RFC 826).
extension NetworkStack {
  func receiveARP(_ packet: ArraySlice<UInt8>) {
    guard packet.half(0) == 1, packet.half(2) == 0x0800, packet.half(4) == 0x0604,
      let operation = packet.half(6), let sender = packet.station(8), let from = packet.word(14),
      let target = packet.word(24)
    else {
      counters.malformed &+= 1
      return
    }
    guard let own = ipv4?.address, from != own.bits else { return }
    let isForUs = target == own.bits
    if IPv4Address(bits: from).isHost {
      learn(.v4(IPv4Address(bits: from)), sender, orAdd: isForUs)
    }
    if isForUs, operation == 1, !sender.isGroup {
      emit(0x0806, to: sender, arp(2, to: sender, IPv4Address(bits: from), from: own))
    }
  }

  func askARP(for address: IPv4Address) {
    guard let own = ipv4?.address else { return }
    emit(0x0806, to: .broadcast, arp(1, to: MACAddress(bits: 0), address, from: own))
  }

  private func arp(
    _ operation: UInt16, to target: MACAddress, _ address: IPv4Address, from own: IPv4Address
  ) -> [UInt8] {
    var packet: [UInt8] = [0, 1, 8, 0, 6, 4]
    packet.append(half: operation)
    packet.append(station)
    packet.append(word: own.bits)
    packet.append(target)
    packet.append(word: address.bits)
    return packet
  }
}
