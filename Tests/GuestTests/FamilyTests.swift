import Exo
import ExoSelftest
import Synchronization
import TestSupport
import Testing

/// What one environment does to others, and what it is shown: each part of the guests that check it, in a machine of one
/// processor, where parents and children take turns, and of two.
@Suite(.requires(.kvm), .serialized) struct FamilyTests {
  private func run(
    _ name: String, _ part: String, processors: Int, watch: (Machine) -> Void = { _ in }
  ) throws -> (Outcome, String) {
    let guest = try #require(GuestCatalogue.named(name))
    let image = try #require(try guest.image())
    var configuration = Machine.Configuration()
    configuration.processors = processors
    let machine = try Machine(configuration)
    defer { machine.stop() }
    watch(machine)
    let output = Mutex<[UInt8]>([])
    let environment = try machine.launch(
      image, arguments: [name, part],
      console: Console(output: .handler { bytes in output.withLock { $0 += bytes } }),
      timeLimit: .seconds(60))
    let outcome = environment.waitForOutcome()
    return (outcome, output.withLock { String(decoding: $0, as: UTF8.self) })
  }

  private func expectKept(_ name: String, _ part: String, processors: Int) throws {
    let (outcome, output) = try run(name, part, processors: processors)
    #expect(outcome == .exited(status: 0), "\(output)")
    #expect(!output.contains("FAILED"), "\(output)")
    #expect(output.contains("ok  "), "\(output)")
  }

  @Test(arguments: ["gives", "half", "refuses", "unused", "slices"], [1, 2])
  func pressure(part: String, processors: Int) throws {
    try expectKept("pressure", part, processors: processors)
  }

  @Test(
    arguments: ["calls", "typed", "refusals", "timeout", "orphan", "ended", "signals", "predicate"], [1, 2])
  func transfer(part: String, processors: Int) throws {
    try expectKept("transfer", part, processors: processors)
  }

  @Test(
    arguments: [
      "computes", "together", "faults", "stops", "killed", "shares", "revokes", "grandchild", "quotas",
    ], [1, 2])
  func family(part: String, processors: Int) throws {
    try expectKept("family", part, processors: processors)
  }

  @Test(arguments: ["frames", "names", "tables", "vectors", "guarantees", "regions"])
  func expose(part: String) throws { try expectKept("expose", part, processors: 1) }

  /// What a trace has of a guest that checks what it does itself.
  private func traced(
    _ name: String, _ part: String, _ category: TraceEvent.Category
  ) throws -> [TraceEvent] {
    var reader: TraceReader?
    let (outcome, output) = try run(name, part, processors: 1) { reader = $0.trace([category]) }
    #expect(outcome == .exited(status: 0), "\(output)")
    return try #require(reader).read(limit: 16_384).map(\.event)
  }

  @Test func aTraceTellsOfGatesAndCallsThatCameToNothing() throws {
    let events = try traced("transfer", "timeout", .gate)
    func first(_ matches: (TraceEvent) -> Bool) throws -> Int {
      let found = events.firstIndex(where: matches)
      return try #require(found, "\(events)")
    }
    let made = try first { if case .gateMade = $0 { true } else { false } }
    let connected = try first { if case .connected = $0 { true } else { false } }
    let called = try first { if case .called = $0 { true } else { false } }
    let late = try first { $0 == .callEnded(.timedOut) }
    let closed = try first { if case .disconnected = $0 { true } else { false } }
    #expect(made < connected && connected < called && called < late && late < closed, "\(events)")
  }

  @Test func aTraceTellsOfWhatIsAskedBackAndTaken() throws {
    let events = try traced("pressure", "refuses", .revocation)
    func has(_ matches: (TraceEvent) -> Bool) -> Bool { events.contains(where: matches) }
    #expect(
      has { if case .askedBack(kind: 1, let owed, by: .some) = $0 { owed > 0 } else { false } }, "\(events)")
    #expect(has { if case .aborted(kind: 1, let owed) = $0 { owed > 0 } else { false } }, "\(events)")
    #expect(
      has { if case .repossessed(kind: 1, first: _, let count) = $0 { count > 0 } else { false } },
      "\(events)")
    #expect(
      has { if case .gaveBack(kind: 1, given: _, let taken) = $0 { taken > 0 } else { false } }, "\(events)")
  }

  @Test func aPartThatDoesNotExistIsNoSuccess() throws {
    #expect(try run("family", "nothing", processors: 1).0 == .exited(status: 2))
  }
}
