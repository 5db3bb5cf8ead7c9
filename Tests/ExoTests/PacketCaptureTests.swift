import ExoABI
import Testing

@testable import Exo

/// What a capture keeps of the packets of a switch: each once, with who sent it, whose it was and what became of it.
@Suite struct PacketCaptureTests {
  /// Takes what it is given.
  private final class Drain: PacketDevice {
    func send(_ batch: borrowing PacketBatch, by key: Int) -> Int { batch.count }
  }

  @Test func everyFateIsTold() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    let claim = try b.claim(Filter.ethernet.to(NetworkBench.address(2)).filter)
    let reader = PacketReader(net.network.capture, 30)
    let (mine, stray) = (NetworkBench.packet(from: 1, to: 2), NetworkBench.packet(from: 1, to: 9))
    /// What was captured of it: everything but the time, which does not go back.
    func expect(
      _ packet: [UInt8], from: EnvironmentID?, to: EnvironmentID?, _ fate: CapturedPacket.Fate,
      _ line: Int = #line
    ) {
      let found = reader.read()
      #expect(found.count == 1, "line \(line)")
      guard let found = found.first else { return }
      #expect(found.from == from && found.to == to && found.fate == fate, "line \(line): \(found)")
      #expect(found.bytes == Array(packet.prefix(30)) && found.length == packet.count, "line \(line)")
    }
    _ = try a.send(mine)
    expect(mine, from: a.id, to: b.id, .delivered)
    _ = try a.send(NetworkBench.packet(from: 3, to: 2))
    expect(NetworkBench.packet(from: 3, to: 2), from: a.id, to: nil, .refused)
    _ = try a.send(stray)
    expect(stray, from: a.id, to: nil, .unclaimed)
    var batch = PacketBatch()
    batch.append(mine[...])
    _ = net.network.deliver(batch, from: 0)
    expect(mine, from: nil, to: b.id, .delivered)
    batch = PacketBatch()
    batch.append(stray[...])
    _ = net.network.deliver(batch, from: 0)
    expect(stray, from: nil, to: nil, .unclaimed)
    net.network.withState { $0.device = Drain() }
    _ = try a.send(stray)
    expect(stray, from: a.id, to: nil, .device)
    // Six more fill the ring.
    for _ in 0..<6 { _ = try a.send(mine) }
    #expect(reader.read().map(\.fate) == [CapturedPacket.Fate](repeating: .delivered, count: 6))
    _ = try a.send(mine)
    expect(mine, from: a.id, to: b.id, .full)
    let handler = PacketHandlerTests.code(EXO_HANDLER_RESULT)
    b.write(handler, at: NetworkBench.Station.scratch)
    try net.bench.call(
      EXO_CALL_handler_bind, claim.rawValue, NetworkBench.Station.scratch, UInt64(handler.count), by: b.id)
    _ = try a.send(mine)
    expect(mine, from: a.id, to: b.id, .handled)
  }

  @Test func readersAreApartAndBounded() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    try b.claim(Filter.ethernet.to(NetworkBench.address(2)).filter)
    let packet = NetworkBench.packet(from: 1, to: 2)
    _ = try a.send(packet)
    let first = PacketReader(net.network.capture, 65_535)
    // What was before it began is not its.
    #expect(first.read().isEmpty)
    do {
      let second = PacketReader(net.network.capture, 0)
      _ = try a.send(packet, packet)
      #expect(second.read().map(\.bytes) == [[], []])
      #expect(second.read().isEmpty)
    }
    let found = first.read()
    #expect(found.map(\.bytes) == [packet, packet] && found[0].time <= found[1].time && first.lost == 0)
    // More than it has room for: the first are kept, the others counted.
    var batch = PacketBatch()
    for _ in 0..<64 { batch.append([UInt8](repeating: 7, count: 2000)[...]) }
    for _ in 0..<40 { _ = net.network.deliver(batch, from: 0) }
    let room = PacketCapture.room / 2064
    #expect(first.read().count == room && first.lost == UInt64(64 * 40 - room))
  }
}
