import ExoABI
import ExosNetwork
import LibOS

/// What the exokernel promises about packets, between two rings of one environment: no device, no other environment.
func switchDemo() {
  guard let authority = NetworkAuthority.own else {
    print("switchdemo: the machine offers no network")
    exit(1)
  }
  var failures = 0
  func promise(_ holds: Bool, _ text: String) {
    print("\(holds ? "ok    " : "FAILED") \(text)")
    if !holds { failures += 1 }
  }
  func refused(_ reason: ExocallError, _ text: String, _ body: () throws(ExocallError) -> Void) {
    do throws(ExocallError) {
      try body()
      promise(false, "\(text): it was not refused")
    } catch {
      promise(error == reason, error == reason ? text : "\(text): \(error)")
    }
  }
  let own = PacketFilter.to(authority.station)
  do throws(ExocallError) {
    let (a, b) = (try PacketRing(slots: 16), try PacketRing(slots: 16))
    try a.allow(authority.transmit)
    let claim = try b.claim(own.udp(port: 8), under: authority.filter)
    func packet(port: UInt16, from station: MACAddress, _ payload: [UInt8]) -> [UInt8] {
      let stack = NetworkStack(station: station)
      stack.ipv4 = NetworkStack.IPv4Configuration(IPv4Address(10, 0, 0, 1), prefix: 24)
      // A packet made by a library; where it goes is for the filter to say.
      let socket = try? UDPSocket(stack, port: 9)
      try? socket?.send(payload, to: Endpoint(.v4(.broadcast), port: port))
      var frame = stack.takeOutput()[0]
      for index in 0..<6 {
        frame[index] = UInt8(truncatingIfNeeded: authority.station.bits >> UInt64(40 - index * 8))
      }
      return frame
    }
    func packet(port: UInt16, from station: MACAddress, _ last: UInt8) -> [UInt8] {
      packet(port: port, from: station, [1, 2, last])
    }
    for number in 0..<8 { _ = a.put(packet(port: 8, from: authority.station, UInt8(number))) }
    let eight = try a.send()
    promise(eight.taken == 8 && eight.refused == 0 && eight.dropped == 0, "eight packets go by one call")
    var order: [UInt8] = []
    while let frame = b.receive() { order.append(frame[frame.count - 1]) }
    promise(order == [0, 1, 2, 3, 4, 5, 6, 7], "they come in order")

    _ = a.put(packet(port: 8, from: MACAddress(bits: authority.station.bits ^ 1), 0))
    let forged = try a.send()
    promise(forged.refused == 1 && !b.hasPackets, "a forged source is not sent")
    _ = a.put(packet(port: 9, from: authority.station, 0))
    let unclaimed = try a.send()
    promise(unclaimed.dropped == 1 && !b.hasPackets, "what nobody claimed goes nowhere")
    _ = b.put(packet(port: 8, from: authority.station, 0))
    promise(try b.send().refused == 1, "a ring without a template sends nothing")

    let narrow = try PacketRing.narrow(
      authority.transmit, to: .from(authority.station).from(IPv4Address(10, 0, 0, 9)))
    try b.allow(narrow)
    _ = b.put(packet(port: 8, from: authority.station, 0))
    promise(try b.send().refused == 1, "a narrower template keeps to its source address")
    refused(.notPermitted, "a template does not become wider") { () throws(ExocallError) in
      _ = try PacketRing.narrow(narrow, to: .from(authority.station))
    }
    refused(.notPermitted, "a claim stays within what it is made under") { () throws(ExocallError) in
      _ = try a.claim(own.udp(port: 10), under: claim)
    }

    b.wish()
    _ = a.put(packet(port: 8, from: authority.station, 1))
    try a.send()
    let event = Events.poll()
    promise(
      event?.kind == UInt32(EXO_EVENT_PACKETS) && UInt64(event?.data ?? 99) == b.number,
      "who wished to be told of a packet is told")
    _ = b.receive()

    try collectorDemo(
      a, authority, frame: { port, payload in packet(port: port, from: authority.station, payload) },
      promise: promise)

    try claim.drop()
    _ = a.put(packet(port: 8, from: authority.station, 2))
    let late = try a.send()
    promise(late.dropped == 1 && !b.hasPackets, "with the claim goes what it claimed")
    try b.close()
    refused(.noEntry, "a closed ring sends nothing") { () throws(ExocallError) in _ = try b.send() }
    promise(
      measure(a, packet(port: 8, from: authority.station, 3), authority) > 0,
      "a thousand packets there and back")
  } catch {
    promise(false, "an exocall was refused: \(error)")
  }
  print("switchdemo: \(failures == 0 ? "all promises kept" : "\(failures) promises broken")")
  exit(failures == 0 ? 0 : 1)
}

/// Sends packets to itself through the switch, sixteen at a time; nanoseconds for each, 0 if one is lost.
private func measure(_ a: PacketRing, _ packet: [UInt8], _ authority: NetworkAuthority) -> UInt64 {
  do throws(ExocallError) {
    let c = try PacketRing(slots: 16)
    try c.claim(.to(authority.station).udp(port: 8), under: authority.filter)
    let start = Clock.now
    var received = 0
    for _ in 0..<63 {
      for _ in 0..<16 { _ = a.put(packet) }
      try a.send()
      while c.receive() != nil { received += 1 }
    }
    let each = (Clock.now - start) / 1008
    print("       \(each) ns for each of \(received) packets")
    return received == 1008 ? max(each, 1) : 0
  } catch { return 0 }
}
