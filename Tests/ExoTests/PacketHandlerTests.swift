import ExoABI
import Testing

@testable import Exo

/// Handlers: what is refused, what runs, and that whatever is accepted ends and stays within the packet and its reply.
@Suite struct PacketHandlerTests {
  static func code(
    _ operation: Int32, _ destination: UInt8 = 0, _ a: UInt8 = 0, _ b: UInt8 = 0, _ immediate: Int32 = 0
  ) -> [UInt8] {
    [UInt8(operation), destination, a, b] + NetworkBench.Station.bytes(immediate)
  }
  static let deliver = code(EXO_HANDLER_CONSTANT, 0, 0, 0, 1) + code(EXO_HANDLER_RESULT)

  @Test func whatIsNoHandlerIsRefusedWithTheInstruction() {
    typealias Fault = PacketHandler.Fault
    let result = Self.code(EXO_HANDLER_RESULT)
    let cases: [([UInt8], Fault)] = [
      ([], Fault(reason: .length)), ([1, 2, 3], Fault(reason: .length)),
      ([UInt8](repeating: 0, count: 257 * 8), Fault(reason: .length)),
      (Self.deliver + Self.code(27) + result, Fault(reason: .operation, instruction: 2)),
      (Self.code(EXO_HANDLER_ADD, 8) + result, Fault(reason: .register, instruction: 0)),
      (Self.code(EXO_HANDLER_ADD, 0, 9) + result, Fault(reason: .register, instruction: 0)),
      (Self.code(EXO_HANDLER_ADD, 0, 0, 255) + result, Fault(reason: .register, instruction: 0)),
      (Self.code(EXO_HANDLER_SKIP_IF_ZERO, 0, 0, 0, 1) + result, Fault(reason: .jump, instruction: 0)),
      (Self.code(EXO_HANDLER_SKIP_IF_ZERO, 0, 0, 0, 0) + result, Fault(reason: .jump, instruction: 0)),
      (
        Self.deliver + Self.code(EXO_HANDLER_SKIP_IF_ZERO, 0, 0, 0, -2) + result,
        Fault(reason: .jump, instruction: 2)
      ),
      (Self.code(EXO_HANDLER_CONSTANT), Fault(reason: .noResult, instruction: 0)),
      (
        Self.code(EXO_HANDLER_SEND) + Self.code(EXO_HANDLER_SEND) + Self.code(EXO_HANDLER_SEND) + result,
        Fault(reason: .sends, instruction: 2)
      ),
    ]
    for (bytes, fault) in cases { #expect(throws: fault) { _ = try PacketHandler(bytes) } }
  }

  @Test func copiesAndSumsInOnePass() throws {
    let program =
      Self.code(EXO_HANDLER_LENGTH, 1) + Self.code(EXO_HANDLER_COPY, 0, 0, 1) + Self.code(EXO_HANDLER_SUM, 2)
      + Self.code(EXO_HANDLER_STORE16, 0, 1, 2) + Self.code(EXO_HANDLER_SEND)
      + Self.code(EXO_HANDLER_RESULT, 0, 3)
    let handler = try PacketHandler(program)
    // RFC 1071's example.
    let packet: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
    var replies: [[UInt8]] = []
    #expect(handler.run(on: packet.span) { replies.append(Array($0)) } == .init(delivers: false))
    #expect(replies == [packet + [0x22, 0x0d]])
  }

  /// Sums of every length and content, where a carry may be lost or an odd byte be put on the wrong side.
  @Test func compiledSumsAreTheInterpreters() throws {
    let program =
      Self.code(EXO_HANDLER_LENGTH, 1) + Self.code(EXO_HANDLER_COPY, 0, 0, 1)
      + Self.code(EXO_HANDLER_CONSTANT, 2, 0, 0, 3) + Self.code(EXO_HANDLER_COPY, 2, 0, 2)
      + Self.code(EXO_HANDLER_SUM, 2) + Self.code(EXO_HANDLER_STORE16, 0, 1, 2) + Self.code(EXO_HANDLER_SEND)
      + Self.code(EXO_HANDLER_RESULT, 0, 3)
    let handler = try PacketHandler(program)
    let code = try #require(HandlerCode(handler))
    var random = Randomness(seed: 8)
    for length in 3..<1500 {
      for kind in 0..<3 {
        let packet = (0..<length).map { _ in
          kind == 0 ? 0xff : kind == 1 ? 0 : UInt8(truncatingIfNeeded: random.next())
        }
        var replies: [[UInt8]] = []
        let outcomes = [
          handler.run(on: packet.span) { replies.append(Array($0)) },
          code.run(on: packet.span) { replies.append(Array($0)) },
        ]
        #expect(outcomes.allSatisfy { $0 == .init(delivers: false) })
        guard replies.count == 2, replies[0] == replies[1] else {
          Issue.record("\(length) bytes: \(replies)")
          return
        }
      }
    }
  }

  @Test func whatGoesPastAnEndFailsAndSendsNothing() throws {
    let reads: [[UInt8]] = [
      Self.code(EXO_HANDLER_LOAD8, 0, 0, 0, 8), Self.code(EXO_HANDLER_LOAD16, 0, 0, 0, 7),
      Self.code(EXO_HANDLER_LOAD32, 0, 0, 0, 5), Self.code(EXO_HANDLER_LOAD8, 0, 0, 0, -1),
      // So near before the packet that an end within it is no sign.
      Self.code(EXO_HANDLER_LOAD32, 0, 0, 0, -3),
      Self.code(EXO_HANDLER_STORE32, 0, 0, 0, 2045), Self.code(EXO_HANDLER_STORE8, 0, 0, 0, -1),
      Self.code(EXO_HANDLER_LENGTH, 1) + Self.code(EXO_HANDLER_COPY, 0, 0, 1, 1),
      // Sixteen times eight bytes are no matter; a register of all ones is.
      Self.code(EXO_HANDLER_CONSTANT, 1, 0, 0, -1) + Self.code(EXO_HANDLER_COPY, 0, 0, 1),
      Self.code(EXO_HANDLER_CONSTANT, 1, 0, 0, -1) + Self.code(EXO_HANDLER_LOAD8, 0, 1),
    ]
    let packet = [UInt8](repeating: 7, count: 8)
    for read in reads {
      let handler = try PacketHandler(Self.code(EXO_HANDLER_SEND) + read + Self.deliver)
      #expect(
        handler.run(on: packet.span) { _ in Issue.record("a reply") }
          == .init(delivers: true, hasFailed: true))
      let code = try #require(HandlerCode(handler))
      #expect(
        code.run(on: packet.span) { _ in Issue.record("a reply") } == .init(delivers: true, hasFailed: true))
    }
    let big = [UInt8](repeating: 1, count: 2048)
    let copy = Self.code(EXO_HANDLER_COPY, 0, 0, 1)
    for (copies, fails) in [(2, false), (3, true)] {
      let code = (0..<copies).flatMap { _ in copy }
      let handler = try PacketHandler(Self.code(EXO_HANDLER_LENGTH, 1) + code + Self.deliver)
      #expect(handler.run(on: big.span) { _ in }.hasFailed == fails)
    }
  }

  /// Random programs, most of them with valid instructions: those that are accepted end, and replies keep their size. What they leave in
  /// their regions is the same either way, and around it there is nothing.
  @Test func randomPrograms() throws {
    var random = Randomness(seed: 31)
    var accepted = 0
    var (sent, failed, stored) = (0, 0, 0)
    let regions = [try LoneRegion(), try LoneRegion()]
    for _ in 0..<60_000 {
      var bytes: [UInt8] = []
      let hasRegion = random.oneIn(4)
      // Something to store, and somewhere.
      if hasRegion {
        bytes += Self.code(EXO_HANDLER_LENGTH, 1)
        bytes += Self.code(EXO_HANDLER_CONSTANT, 2, 0, 0, Int32(random.below(64) * 8))
      }
      let count = 1 + random.below(24)
      for index in 0..<count {
        let last = index == count - 1 && !random.oneIn(8)
        var operation = last ? Int32(21) : Int32(random.below(random.oneIn(40) ? 30 : hasRegion ? 27 : 22))
        if hasRegion, !last, random.oneIn(4) {
          operation = random.oneIn(2) ? EXO_HANDLER_REGION_STORE32 : EXO_HANDLER_REGION_COPY
        }
        var immediate = Int32(
          truncatingIfNeeded: random.oneIn(4) ? random.next() : UInt64(random.below(80)))
        if operation == EXO_HANDLER_SKIP_IF_ZERO { immediate = Int32(random.below(5)) }
        if operation == EXO_HANDLER_REGION_STORE32 { immediate &= ~3 }
        bytes += Self.code(
          operation, UInt8(random.below(8)), UInt8(random.below(8)),
          UInt8(random.below(random.oneIn(40) ? 12 : 8)), immediate)
      }
      guard let handler = try? PacketHandler(bytes, regionSize: hasRegion ? LoneRegion.size : 0) else {
        continue
      }
      accepted += 1
      let packet = (0..<random.below(128)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      var replies: [[UInt8]] = []
      let before = hasRegion ? regions[0].content : []
      let outcome = handler.run(on: packet.span, region: hasRegion ? regions[0].region : nil) { reply in
        replies.append(Array(reply))
        if reply.count > PacketRing.size { Issue.record("a reply of \(reply.count) bytes") }
      }
      #expect(replies.count <= Int(EXO_HANDLER_SENDS) && (!outcome.hasFailed || replies.isEmpty))
      sent += replies.count
      failed += outcome.hasFailed ? 1 : 0
      // Compiled it does the same, the first time and again.
      let code = try #require(HandlerCode(handler, region: hasRegion ? regions[1].region : nil))
      let after = hasRegion ? regions[0].content : []
      if after != before { stored += 1 }
      // What it has stored may lead it elsewhere the next time.
      for time in 0..<2 {
        if time == 1, hasRegion { regions[1].content = before }
        var compiled: [[UInt8]] = []
        let same = code.run(on: packet.span) { compiled.append(Array($0)) }
        guard same == outcome, compiled == replies,
          !hasRegion || regions[1].content == after && regions.allSatisfy(\.isAlone)
        else {
          Issue.record("compiled: \(same) \(compiled); interpreted: \(outcome) \(replies): \(handler)")
          return
        }
      }
    }
    #expect(accepted > 10_000 && sent > 100 && failed > 1000 && stored > 100)
  }

  /// A handler of one environment answers another, as far as its ring may send, and no handler answers a handler.
  @Test func handlersAnswer() throws {
    let net = try NetworkBench()
    let (a, b) = (try net.station(1), try net.station(2))
    let claims = [
      try a.claim(Filter.ethernet.to(NetworkBench.address(1)).filter),
      try b.claim(Filter.ethernet.to(NetworkBench.address(2)).filter),
    ]
    // The whole packet back, with the stations in each other's place.
    var program = Self.code(EXO_HANDLER_LENGTH, 1) + Self.code(EXO_HANDLER_COPY, 0, 0, 1)
    for (width, one, other) in [(EXO_HANDLER_LOAD32, 0, 6), (EXO_HANDLER_LOAD16, 4, 10)]
      as [(Int32, Int32, Int32)]
    {
      program += Self.code(width, 2, 0, 0, one) + Self.code(width, 3, 0, 0, other)
      program += Self.code(width + 3, 0, 0, 3, one) + Self.code(width + 3, 0, 0, 2, other)
    }
    program += Self.code(EXO_HANDLER_SEND) + Self.code(EXO_HANDLER_RESULT, 0, 4)
    func bind(_ station: NetworkBench.Station, _ claim: CapabilityHandle, _ program: [UInt8]) throws
      -> Answer
    {
      station.write(program, at: NetworkBench.Station.scratch)
      return try net.bench.call(
        EXO_CALL_handler_bind, claim.rawValue, NetworkBench.Station.scratch, UInt64(program.count),
        by: station.id)
    }
    #expect(try bind(b, claims[1], program).result == 0)
    let packet = NetworkBench.packet(from: 1, to: 2)
    #expect(try a.send(packet) == Network.Sent(taken: 1))
    #expect(b.receive().isEmpty)
    #expect(a.receive().map(\.bytes) == [Array(packet[6..<12] + packet[0..<6] + packet[12...])])
    // Both have one now: the answer is delivered and not answered.
    #expect(try bind(a, claims[0], program).result == 0)
    #expect(try a.send(packet) == Network.Sent(taken: 1))
    #expect(a.receive().count == 1 && b.receive().isEmpty)
    // With the stations left as they are it would speak for another: nothing is sent.
    #expect(
      try bind(
        b, claims[1],
        Self.code(EXO_HANDLER_LENGTH, 1) + Self.code(EXO_HANDLER_COPY, 0, 0, 1) + Self.code(EXO_HANDLER_SEND)
          + Self.code(EXO_HANDLER_RESULT, 0, 4)
      ).result == 0)
    #expect(try a.send(packet) == Network.Sent(taken: 1))
    #expect(a.receive().isEmpty && b.receive().isEmpty)
    // Refused, with why and where.
    let refused = try bind(b, claims[1], Self.code(EXO_HANDLER_CONSTANT) + Self.code(99))
    #expect(
      refused.result == -Int64(EXO_EINVAL) && refused.values.0 == UInt64(EXO_HANDLER_BAD_OPERATION)
        && refused.values.1 == 1)
    // Only for claims, and only for one's own.
    #expect(throws: Refusal.absent) { _ = try bind(b, b.filter, program) }
    #expect(throws: Refusal.badCapability) { _ = try bind(b, b.transmit, program) }
    #expect(try bind(b, claims[1], []).result == 0)
    #expect(try a.send(packet) == Network.Sent(taken: 1))
    #expect(b.receive().count == 1)
    #expect(net.problems == [])
  }
}
