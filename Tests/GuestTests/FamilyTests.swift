import Exo
import ExoSelftest
import Synchronization
import TestSupport
import Testing

/// What one environment does to others, and what it is shown: each part of the guests that check it, in a machine of one
/// processor, where parents and children take turns, and of two.
@Suite(.requires(.kvm), .serialized) struct FamilyTests {
  private func run(_ name: String, _ part: String, processors: Int) throws -> (Outcome, String) {
    let guest = try #require(GuestCatalogue.named(name))
    let image = try #require(try guest.image())
    var configuration = Machine.Configuration()
    configuration.processors = processors
    let machine = try Machine(configuration)
    defer { machine.stop() }
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

  @Test func aPartThatDoesNotExistIsNoSuccess() throws {
    #expect(try run("family", "nothing", processors: 1).0 == .exited(status: 2))
  }
}
