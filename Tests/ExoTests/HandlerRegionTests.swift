import ExoABI
import Testing

@testable import Exo

/// A region with a page before it and one behind it, in memory of its own.
final class LoneRegion {
  static let size = 4096
  private let memory: PhysicalMemory
  let region: HandlerRegion
  private let around: [PhysicalAddress]

  init() throws {
    memory = try PhysicalMemory(size: 2 << 20)
    let start = PhysicalAddress(PhysicalAddress.memoryBase + 0x8000)
    around = [PhysicalAddress(start.value - 4096), PhysicalAddress(start.value + UInt64(Self.size))]
    region = HandlerRegion(
      memory: memory, start: start, size: Self.size, handle: CapabilityHandle(rawValue: 1))
  }

  private func bytes(_ address: PhysicalAddress) -> [UInt8] {
    var bytes: [UInt8] = []
    memory.appendBytes(address, count: 4096, to: &bytes)
    return bytes
  }
  var content: [UInt8] {
    get { bytes(region.start) }
    set { memory.write(newValue[...], at: region.start) }
  }
  /// Whether nothing was written outside of it.
  var isAlone: Bool { around.allSatisfy { bytes($0) == Self.nothing } }
  private static let nothing = [UInt8](repeating: 0, count: 4096)
}

/// Handlers that write into memory of their environment: what they may, and that they end with their authority.
@Suite struct HandlerRegionTests {
  private typealias Station = NetworkBench.Station
  private static func code(
    _ operation: Int32, _ destination: UInt8 = 0, _ a: UInt8 = 0, _ b: UInt8 = 0, _ immediate: Int32 = 0
  ) -> [UInt8] { PacketHandlerTests.code(operation, destination, a, b, immediate) }

  /// Counts at the region's beginning, copies the packet to 64, its checksum to 8, and delivers nothing.
  private static let collect =
    code(EXO_HANDLER_LENGTH, 1) + code(EXO_HANDLER_CONSTANT, 2, 0, 0, 64)
    + code(EXO_HANDLER_REGION_COPY, 2, 0, 1) + code(EXO_HANDLER_SUM, 3)
    + code(EXO_HANDLER_REGION_STORE64, 0, 0, 3, 8) + code(EXO_HANDLER_CONSTANT, 4, 0, 0, 1)
    + code(EXO_HANDLER_REGION_LOAD32, 5) + code(EXO_HANDLER_ADD, 5, 5, 4)
    + code(EXO_HANDLER_REGION_STORE32, 0, 0, 5) + code(EXO_HANDLER_RESULT)

  // --- the program

  @Test func whatCannotBeIsRefusedWithTheInstruction() throws {
    typealias Fault = PacketHandler.Fault
    let deliver = PacketHandlerTests.deliver
    for operation in EXO_HANDLER_REGION_LOAD32...EXO_HANDLER_REGION_COPY {
      #expect(throws: Fault(reason: .region, instruction: 1)) {
        _ = try PacketHandler(Self.code(EXO_HANDLER_LENGTH) + Self.code(operation) + deliver)
      }
      _ = try PacketHandler(Self.code(operation) + deliver, regionSize: 4096)
    }
    for (operation, last) in [
      (EXO_HANDLER_REGION_LOAD32, 4092), (EXO_HANDLER_REGION_LOAD64, 4088),
      (EXO_HANDLER_REGION_STORE32, 4092),
      (EXO_HANDLER_REGION_STORE64, 4088),
    ] as [(Int32, Int32)] {
      _ = try PacketHandler(Self.code(operation, 0, 0, 0, last) + deliver, regionSize: 4096)
      for past in [last + 1, last + 8, .max] {
        #expect(throws: Fault(reason: .offset, instruction: 0)) {
          _ = try PacketHandler(Self.code(operation, 0, 0, 0, past) + deliver, regionSize: 4096)
        }
      }
    }
  }

  /// At the ends and past them, in either execution: what is within is done, all else fails and leaves the region as it was.
  @Test func boundsHoldAsItRuns() throws {
    let packet = [UInt8](1...32)
    /// Register 1 is the place.
    func program(_ place: Int32, _ instruction: [UInt8], shifted: Int32 = 0) throws -> PacketHandler {
      try PacketHandler(
        Self.code(EXO_HANDLER_CONSTANT, 1, 0, 0, place) + Self.code(EXO_HANDLER_CONSTANT, 2, 0, 0, shifted)
          + Self.code(EXO_HANDLER_SHIFT_LEFT, 1, 1, 2) + Self.code(EXO_HANDLER_LENGTH, 3) + instruction
          + PacketHandlerTests.deliver, regionSize: 4096)
    }
    let store32 = Self.code(EXO_HANDLER_REGION_STORE32, 0, 1, 3)
    let store64 = Self.code(EXO_HANDLER_REGION_STORE64, 0, 1, 3)
    let load32 = Self.code(EXO_HANDLER_REGION_LOAD32, 5, 1)
    let load64 = Self.code(EXO_HANDLER_REGION_LOAD64, 5, 1)
    let copy = Self.code(EXO_HANDLER_REGION_COPY, 1, 0, 3)
    let cases: [(PacketHandler, fails: Bool)] = [
      (try program(4092, store32), false), (try program(4088, store64), false),
      (try program(4064, copy), false),
      (try program(0, copy), false), (try program(4092, load32), false), (try program(4088, load64), false),
      (try program(4096, store32), true), (try program(4096, store64), true),
      (try program(4092, store64), true),
      (try program(4065, copy), true), (try program(4096, copy), true), (try program(-1, copy), true),
      (try program(-4, store32), true), (try program(-8, load64), true),
      (try program(1, store32, shifted: 40), true),
      (try program(1, copy, shifted: 40), true), (try program(1, store64, shifted: 63), true),
      (try program(2, store32), true), (try program(4, store64), true), (try program(1, load32), true),
      (try program(1, copy), false),
      // From before the packet, and past its end.
      (try program(0, Self.code(EXO_HANDLER_REGION_COPY, 1, 0, 3, 1)), true),
      (try program(0, Self.code(EXO_HANDLER_REGION_COPY, 1, 0, 3, -1)), true),
    ]
    for (index, (handler, fails)) in cases.enumerated() {
      let regions = [try LoneRegion(), try LoneRegion()]
      let interpreted = handler.run(on: packet.span, region: regions[0].region) { _ in }
      let compiled = try #require(HandlerCode(handler, region: regions[1].region)).run(on: packet.span) { _ in
      }
      #expect(interpreted.hasFailed == fails && compiled == interpreted, "case \(index)")
      #expect(regions[0].content == regions[1].content && regions.allSatisfy(\.isAlone), "case \(index)")
      if fails { #expect(regions[0].content.allSatisfy { $0 == 0 }, "case \(index)") }
    }
    // Copies have one budget, wherever they lead.
    let big = [UInt8](repeating: 1, count: 2048)
    let both = Self.code(EXO_HANDLER_REGION_COPY, 0, 0, 1) + Self.code(EXO_HANDLER_COPY, 0, 0, 1)
    for (code, fails) in [(both, false), (both + Self.code(EXO_HANDLER_REGION_COPY, 0, 0, 1), true)] {
      let handler = try PacketHandler(
        Self.code(EXO_HANDLER_LENGTH, 1) + code + PacketHandlerTests.deliver, regionSize: 4096)
      let region = try LoneRegion()
      #expect(handler.run(on: big.span, region: region.region) { _ in }.hasFailed == fails)
      let compiled = try #require(HandlerCode(handler, region: region.region))
      #expect(compiled.run(on: big.span) { _ in }.hasFailed == fails)
    }
  }

  // --- authority

  private static func frames(_ count: UInt64, at first: UInt64 = UInt64(EXO_FRAME_ANY), of station: Station)
    throws
    -> (handle: CapabilityHandle, first: UInt64)
  {
    let answer = try station.bench.bench.call(EXO_CALL_frame_allocate, first, count, by: station.id)
    return (CapabilityHandle(rawValue: UInt64(answer.result)), answer.values.0)
  }
  private static func bind(
    _ station: Station, _ claim: CapabilityHandle, _ handle: CapabilityHandle, first: UInt64 = 0,
    pages: UInt64 = 1
  ) throws {
    station.write(collect, at: Station.scratch)
    let answer = try station.bench.bench.call(
      EXO_CALL_handler_bind, claim.rawValue, Station.scratch, UInt64(collect.count), handle.rawValue,
      first | pages << 32, by: station.id)
    #expect(answer.result == 0)
  }
  private static func count(_ frame: UInt64, _ net: NetworkBench) -> UInt32 {
    net.bench.kernel.memory.load32(Frame(UInt32(frame)).address)
  }
  private static func derive(
    _ handle: CapabilityHandle, _ rights: Int32, first: UInt64 = 0, pages: UInt64, of station: Station
  ) throws -> CapabilityHandle {
    let answer = try station.bench.bench.call(
      EXO_CALL_capability_derive, handle.rawValue, first, pages, UInt64(rights), by: station.id)
    return CapabilityHandle(rawValue: UInt64(answer.result))
  }

  @Test(arguments: [false, true]) func keepsPacketsAndState(isInterpreted: Bool) throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    let claim = try b.claim(Filter.ethernet.to(NetworkBench.address(2)).filter)
    let (handle, first) = try Self.frames(3, of: b)
    if isInterpreted { net.network.withState { $0.compilesHandlers = false } }
    try Self.bind(b, claim, handle, first: 1, pages: 1)
    let packet = NetworkBench.packet(from: 1, to: 2, [9, 8, 7, 6, 5])
    #expect(try a.send(packet, packet, packet) == Network.Sent(taken: 3))
    #expect(b.receive().isEmpty)
    #expect(Self.count(first + 1, net) == 3)
    var kept: [UInt8] = []
    net.bench.kernel.memory.appendBytes(
      PhysicalAddress(Frame(UInt32(first + 1)).address.value + 64), count: packet.count, to: &kept)
    #expect(kept == packet)
    var sum: UInt32 = 0
    for (index, byte) in packet.enumerated() { sum += index % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte) }
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    let stored = net.bench.kernel.memory.load32(PhysicalAddress(Frame(UInt32(first + 1)).address.value + 8))
    #expect(stored == ~sum & 0xffff)
    #expect(Self.count(first, net) == 0 && Self.count(first + 2, net) == 0)
    #expect(net.problems == [])
  }

  @Test func onlyFramesOnesMayWrite() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    let claim = try b.claim(Filter.ethernet.to(NetworkBench.address(2)).filter)
    let (handle, _) = try Self.frames(3, of: b)
    let others = try Self.frames(1, of: a).handle
    func refused(_ refusal: Refusal, _ handle: CapabilityHandle, first: UInt64 = 0, pages: UInt64 = 1) {
      #expect(throws: refusal) { try Self.bind(b, claim, handle, first: first, pages: pages) }
    }
    refused(.notPermitted, try Self.derive(handle, EXO_READ, pages: 3, of: b))
    refused(.notPermitted, try Self.derive(handle, EXO_WRITE, pages: 3, of: b))
    refused(.badCapability, b.transmit)
    refused(.badCapability, CapabilityHandle(rawValue: .max))
    // Another's handle names nothing here, or something else.
    #expect(throws: Refusal.self) { try Self.bind(b, claim, others, first: 2, pages: 1) }
    refused(.outOfRange, handle, first: 3)
    refused(.outOfRange, handle, first: 1, pages: 3)
    refused(.outOfRange, handle, first: 0xffff_ffff)
    refused(.invalid, handle, pages: 0)
    refused(.invalid, handle, pages: 17)
    refused(.invalid, CapabilityHandle(rawValue: 0))
    #expect(throws: Refusal.invalid) {
      try net.bench.call(
        EXO_CALL_handler_bind, claim.rawValue, Station.scratch, 0, handle.rawValue, 1 << 32, by: b.id)
    }
    try net.bench.call(EXO_CALL_capability_drop, handle.rawValue, by: b.id)
    refused(.stale, handle)
    #expect(net.problems == [])
  }

  /// Whatever takes the capability away takes the handler away before anybody else can have the frames.
  @Test(arguments: ["drop", "revoke", "repossess", "unmap", "rebind"]) func endsWithItsCapability(
    _ way: String
  ) throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    let claim = try b.claim(Filter.ethernet.to(NetworkBench.address(2)).filter)
    let (root, first) = try Self.frames(2, of: b)
    let named =
      way == "revoke" ? try Self.derive(root, EXO_READ | EXO_WRITE, first: 1, pages: 1, of: b) : root
    try Self.bind(b, claim, named, first: way == "revoke" ? 0 : 1)
    let packet = NetworkBench.packet(from: 1, to: 2)
    #expect(try a.send(packet) == Network.Sent(taken: 1))
    #expect(Self.count(first + 1, net) == 1)
    switch way {
    case "drop": try net.bench.call(EXO_CALL_capability_drop, root.rawValue, by: b.id)
    case "revoke": try net.bench.call(EXO_CALL_capability_revoke, root.rawValue, by: b.id)
    case "repossess":
      let unused = try #require(net.bench.kernel.capabilities.quotas.account(of: b.id)?.available(.frames))
      let atOnce = try net.bench.kernel.ask(
        b.id, for: .frames, unused + 1, by: 0, asker: .environment(a.id, tag: 1))
      #expect(atOnce == nil)
      net.bench.kernel.repossess(b.id, at: 1)
    case "unmap":
      // Mapped or not is no matter.
      let address: UInt64 = 0x60_0000_0000
      try net.bench.call(
        EXO_CALL_map, root.rawValue, 0, address, 2, UInt64(EXO_READ | EXO_WRITE), by: b.id)
      try net.bench.call(EXO_CALL_unmap, address, 2, by: b.id)
    default:
      try net.bench.call(EXO_CALL_handler_bind, claim.rawValue, 0, 0, by: b.id)
      try Self.bind(b, claim, named, first: 0)
    }
    #expect(net.problems == [])
    if way == "drop" || way == "repossess" {
      // They are another's now.
      let (_, again) = try Self.frames(2, at: first, of: a)
      #expect(again == first && Self.count(first + 1, net) == 0)
    }
    #expect(try a.send(packet) == Network.Sent(taken: 1))
    switch way {
    case "unmap": #expect(Self.count(first + 1, net) == 2 && b.receive().isEmpty)
    case "rebind":
      #expect(Self.count(first + 1, net) == 1 && Self.count(first, net) == 1 && b.receive().isEmpty)
    case "revoke": #expect(Self.count(first + 1, net) == 1 && b.receive().map(\.bytes) == [packet])
    default: #expect(Self.count(first + 1, net) == 0 && b.receive().map(\.bytes) == [packet])
    }
    #expect(net.problems == [])
  }

  /// Frames that another environment granted: its revocation ends the handler too, and its end.
  @Test(arguments: [false, true]) func endsWithTheGrant(byEnd: Bool) throws {
    let net = try NetworkBench()
    let a = try net.station(1)
    let (id, _) = try net.bench.child(of: a.id, frames: 100)
    let low = Station.low
    let memory = try net.bench.call(EXO_CALL_frame_allocate, UInt64(EXO_FRAME_ANY), 48, by: id)
    try net.bench.call(
      EXO_CALL_map, UInt64(memory.result), 0, low, 48, UInt64(EXO_READ | EXO_WRITE), by: id)
    let giver = try Station(net, id: id, sources: [.everything])
    // The parent has the handler, the child the frames: it can end without the other.
    let claim = try a.claim(Filter.ethernet.to(NetworkBench.address(1)).filter)
    let (root, first) = try Self.frames(1, of: giver)
    let run = try #require(Run<UInt32>(first: UInt32(first), count: 1))
    let granted = try net.bench.kernel.capabilities.grant(
      root, from: id, to: a.id, as: Authority(.frames(run), [.read, .write]))
    try Self.bind(a, claim, granted)
    let packet = NetworkBench.packet(from: 3, to: 1)
    #expect(try giver.send(packet) == Network.Sent(taken: 1))
    #expect(Self.count(first, net) == 1 && a.receive().isEmpty)
    let sender = try net.station(3)
    if byEnd {
      net.bench.kernel.destroyDomain(id)
    } else {
      try net.bench.call(EXO_CALL_capability_revoke, root.rawValue, by: id)
    }
    #expect(net.problems == [])
    #expect(try sender.send(packet) == Network.Sent(taken: 1))
    #expect(a.receive().map(\.bytes) == [packet])
    #expect(Self.count(first, net) == (byEnd ? 0 : 1))
  }
}
