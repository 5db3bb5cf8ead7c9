/// Echo of ICMP (RFC 792) and ICMPv6 (RFC 4443), and neighbour discovery (RFC 4861).
extension NetworkStack {
  /// Asks a host for an echo.
  /// - Throws: as `UDPSocket.send`.
  public func sendEcho(
    to address: IPAddress, identifier: UInt16, sequence: UInt16, payload: [UInt8]
  ) throws(NetworkError) {
    try sendEcho(
      isReply: false, to: address,
      [
        UInt8(identifier >> 8), UInt8(truncatingIfNeeded: identifier), UInt8(sequence >> 8),
        UInt8(truncatingIfNeeded: sequence),
      ] + payload)
  }

  /// Takes the answers that have come.
  public func takeEchoes() -> [EchoReply] {
    let found = echoes
    echoes = []
    return found
  }

  private func sendEcho(
    isReply: Bool, from source: IPAddress? = nil, to address: IPAddress, _ content: [UInt8]
  ) throws(NetworkError) {
    guard content.count <= 65_500 else { throw .tooLarge }
    switch address {
    case .v4:
      var message: [UInt8] = [isReply ? 0 : 8, 0, 0, 0] + content
      message.set(half: InternetChecksum.of(message[...]), at: 2)
      try send(1, message, from: source, to: address)
    case .v6:
      try sendICMPv6([isReply ? 129 : 128, 0, 0, 0] + content, from: source, to: address, hops: 64)
    }
  }

  private func sendICMPv6(
    _ message: [UInt8], from source: IPAddress?, to address: IPAddress, hops: UInt8
  ) throws(NetworkError) {
    let origin: IPAddress
    if let source { origin = source } else { origin = try self.source(for: address) }
    var message = message
    message.set(half: PseudoHeader.checksum(from: origin, to: address, proto: 58, message[...]), at: 2)
    try send(58, message, from: origin, to: address, hops: hops)
  }

  func receiveICMP(_ message: ArraySlice<UInt8>, from source: IPAddress, to destination: IPAddress) {
    guard let type = message.byte(0), message.count >= 8 else {
      counters.malformed &+= 1
      return
    }
    guard InternetChecksum.of(message) == 0 else {
      counters.badChecksums &+= 1
      return
    }
    switch type {
    // Nobody answers for a whole network.
    case 8:
      guard case .v4(let to) = destination, to == ipv4?.address else { return }
      counters.delivered &+= 1
      try? sendEcho(isReply: true, from: destination, to: source, [UInt8](copying: message.rest(4)))
    case 0: noteEcho(message, from: source)
    default: counters.notForUs &+= 1
    }
  }

  private func noteEcho(_ message: ArraySlice<UInt8>, from source: IPAddress) {
    guard let identifier = message.half(4), let sequence = message.half(6), echoes.count < Self.echoLimit
    else {
      return
    }
    counters.delivered &+= 1
    echoes.append(
      EchoReply(
        from: source, identifier: identifier, sequence: sequence, payload: [UInt8](copying: message.rest(8))))
  }

  func receiveICMPv6(_ message: ArraySlice<UInt8>, from source: IPAddress, to destination: IPAddress) {
    guard let type = message.byte(0), message.count >= 8 else {
      counters.malformed &+= 1
      return
    }
    guard PseudoHeader.checksum(from: source, to: destination, proto: 58, message) == 0 else {
      counters.badChecksums &+= 1
      return
    }
    switch type {
    case 128:
      guard case .v6(let from) = source, !from.isAny, case .v6(let to) = destination else { return }
      counters.delivered &+= 1
      try? sendEcho(
        isReply: true, from: to.isGroup ? nil : destination, to: source, [UInt8](copying: message.rest(4)))
    case 129: noteEcho(message, from: source)
    case 135: receiveSolicitation(message, from: source)
    case 136: receiveAdvertisement(message, from: source)
    default: counters.notForUs &+= 1
    }
  }

  /// The link-layer address in an option of that type; nil if there is none. False for options that are none.
  private func linkAddress(_ type: UInt8, in options: ArraySlice<UInt8>) -> (isValid: Bool, MACAddress?) {
    var rest = options
    var found: MACAddress?
    while !rest.isEmpty {
      guard let kind = rest.byte(0), let units = rest.byte(1), units > 0, Int(units) * 8 <= rest.count else {
        return (false, nil)
      }
      if kind == type { found = rest.station(2) }
      rest = rest.rest(Int(units) * 8)
    }
    return (true, found)
  }

  private func receiveSolicitation(_ message: ArraySlice<UInt8>, from source: IPAddress) {
    guard let target = message.wide(8), message.byte(1) == 0, case .v6(let asker) = source else {
      counters.malformed &+= 1
      return
    }
    let (isValid, link) = linkAddress(1, in: message.rest(24))
    guard isValid, ipv6.contains(target) else { return }
    if let link, !asker.isAny { learn(source, link, orAdd: true) }
    // Solicited unless somebody looks whether the address is taken, and overriding.
    var answer: [UInt8] = [136, 0, 0, 0, asker.isAny ? 0x20 : 0x60, 0, 0, 0]
    answer.append(target)
    answer += [2, 1]
    answer.append(station)
    try? sendICMPv6(answer, from: .v6(target), to: asker.isAny ? .v6(.allNodes) : source, hops: 255)
  }

  private func receiveAdvertisement(_ message: ArraySlice<UInt8>, from source: IPAddress) {
    guard let target = message.wide(8), message.byte(1) == 0 else {
      counters.malformed &+= 1
      return
    }
    let (isValid, link) = linkAddress(2, in: message.rest(24))
    guard isValid, let link, !target.isGroup, !ipv6.contains(target) else { return }
    learn(.v6(target), link, orAdd: false)
  }

  /// Asks who has an address.
  func solicit(_ address: IPv6Address) {
    var message: [UInt8] = [135, 0, 0, 0, 0, 0, 0, 0]
    message.append(address)
    message += [1, 1]
    message.append(station)
    try? sendICMPv6(
      message, from: .v6(source6(for: address)), to: .v6(address.solicitedNode), hops: 255)
  }
}
