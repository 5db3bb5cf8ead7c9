import ExoABI
import ExosNetwork
import GuestRuntime
import LibOS

/// A handler that keeps the datagrams of a port in this environment's memory, with their lengths and checksums, and has it woken for every
/// eighth only. Of a region of one page:
///
///     0   how many have come              64 + 240 * (number % 16)   length, checksum, the payload: at most 232 bytes
enum Collector {
  static let slots: UInt32 = 16, each = 240, first = 64, most: Int32 = 232
  private static let headers: Int32 = 42

  /// For a claim of UDP datagrams over IPv4. What has IP options, or is longer, is delivered.
  static var program: HandlerProgram {
    var program = HandlerProgram()
    program.set(.r7, to: 1)
    program.load(1, at: .r0, plus: 14, into: .r1)
    program.set(.r2, to: 0x45)
    program.xor(.r1, .r2, into: .r1)
    program.when(.r1) { $0.deliver(if: .r7) }
    program.length(into: .r1)
    program.set(.r2, to: headers)
    program.subtract(.r1, .r2, into: .r1)
    program.set(.r2, to: most)
    program.less(.r2, .r1, into: .r2)
    program.when(.r2) { $0.deliver(if: .r7) }
    // Its slot: 240 is 256 less 16.
    program.loadRegion(4, at: .r0, plus: 0, into: .r2)
    program.set(.r3, to: Int32(slots - 1))
    program.and(.r2, .r3, into: .r3)
    program.set(.r4, to: 4)
    program.shiftLeft(.r3, by: .r4, into: .r5)
    program.shiftLeft(.r5, by: .r4, into: .r3)
    program.subtract(.r3, .r5, into: .r3)
    program.set(.r4, to: Int32(first) + 8)
    program.add(.r3, .r4, into: .r3)
    // Copied and summed in one pass; that it is there is said last.
    program.copyToRegion(.r1, from: .r0, plus: headers, to: .r3)
    program.sum(into: .r4)
    program.storeRegion(4, .r1, at: .r3, plus: -8)
    program.storeRegion(4, .r4, at: .r3, plus: -4)
    program.add(.r2, .r7, into: .r2)
    program.storeRegion(4, .r2, at: .r0, plus: 0)
    program.set(.r3, to: 7)
    program.and(.r2, .r3, into: .r2)
    program.equal(.r2, .r0, into: .r2)
    program.deliver(if: .r2)
    return program
  }

  /// The Internet checksum (RFC 1071).
  static func checksum(_ bytes: [UInt8]) -> UInt32 {
    var sum: UInt32 = 0
    for (index, byte) in bytes.enumerated() { sum += index % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte) }
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    return ~sum & 0xffff
  }
}

/// What is promised of handlers that write, for `switchdemo`: `frame` makes a datagram to a port, with a payload behind its 42 bytes.
func collectorDemo(
  _ sender: PacketRing, _ authority: NetworkAuthority, frame: (UInt16, [UInt8]) -> [UInt8],
  promise: (Bool, String) -> Void
) throws(ExocallError) {
  let (port, address): (UInt16, UInt64) = (30, 0x6200_0000_0000)
  let ring = try PacketRing(slots: 16)
  let claim = try ring.claim(.to(authority.station).udp(port: port), under: authority.filter)
  let frames = try Exocall.frameAllocate(count: 1)
  try Exocall.map(frames.capability, page: 0, at: address, pages: 1, rights: [.read, .write])
  let page = UnsafeRawPointer(bitPattern: UInt(address)).unsafelyUnwrapped
  try PacketRing.handle(
    claim, by: Collector.program, region: PacketRing.HandlerRegion(Capability(handle: frames.capability)))
  var isKept = true
  for number in 0..<UInt32(20) {
    ring.wish()
    let payload = (0..<20 + Int(number) * 7).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ Int(number)) }
    _ = sender.put(frame(port, payload))
    try sender.send()
    let slot = Collector.first + Int(number % Collector.slots) * Collector.each
    let length = Int(page.loadUnaligned(fromByteOffset: slot, as: UInt32.self))
    let stored = (0..<min(length, Int(Collector.most))).map {
      page.load(fromByteOffset: slot + 8 + $0, as: UInt8.self)
    }
    let isEighth = number % 8 == 7
    let event = Events.poll()
    isKept =
      isKept && exo_load32(address) == number + 1 && stored == payload
      && page.loadUnaligned(fromByteOffset: slot + 4, as: UInt32.self) == Collector.checksum(payload)
      && ring.hasPackets == isEighth && (event?.kind == UInt32(EXO_EVENT_PACKETS)) == isEighth
    _ = ring.receive()
  }
  promise(isKept, "a handler keeps twenty datagrams with their checksums, and wakes for each eighth")
  _ = sender.put(frame(port, [UInt8](repeating: 1, count: 233)))
  try sender.send()
  promise(ring.receive() != nil && exo_load32(address) == 20, "what is too long for it is delivered")
  try Exocall.unmap(address, pages: 1)
  _ = sender.put(frame(port, [1]))
  try sender.send()
  promise(!ring.hasPackets, "the region is the capability's, wherever it is mapped")
  try Capability(handle: frames.capability).drop()
  _ = sender.put(frame(port, [2]))
  try sender.send()
  promise(ring.hasPackets, "without its region's capability there is no handler")
  try ring.close()
}
