import Exo
import ExoSelftest
import Synchronization
import TestSupport
import Testing

/// The library operating system at work in real guests: each part of those that check it, in a machine of one processor and of
/// two.
@Suite(.requires(.kvm), .serialized) struct ExosTests {
  private func expectKept(
    _ name: String, _ part: String, processors: Int, limit: Duration = .seconds(300)
  ) throws {
    let guest = try #require(GuestCatalogue.named(name))
    let image = try #require(try guest.image())
    var configuration = Machine.Configuration()
    configuration.processors = processors
    let machine = try Machine(configuration)
    defer { machine.stop() }
    let output = Mutex<[UInt8]>([])
    let environment = try machine.launch(
      image, arguments: [name, part], provisions: try guest.provisions(),
      console: Console(output: .handler { bytes in output.withLock { $0 += bytes } }),
      timeLimit: limit
    )
    let outcome = environment.waitForOutcome()
    let text = output.withLock { String(decoding: $0, as: UTF8.self) }
    #expect(outcome == .exited(status: 0), "\(text)")
    #expect(!text.contains("FAILED") && text.contains("ok  "), "\(text)")
  }

  @Test(arguments: ["addresses", "demand", "copies", "stacks", "paging", "primitives"])
  func virtualMemory(part: String) throws { try expectKept("vm", part, processors: 1) }

  @Test(arguments: ["barrier", "checkpoint", "coherent", "colours", "inverted"], [1, 2])
  func applications(part: String, processors: Int) throws {
    try expectKept("applications", part, processors: processors)
  }

  @Test(
    arguments: [
      "turns", "registers", "locks", "channels", "sleeps", "deadlocks", "policies", "overflow", "allocates",
      "tasks",
    ], [1, 2])
  func threads(part: String, processors: Int) throws {
    try expectKept("threads", part, processors: processors)
  }

  @Test(arguments: ["stride", "deadlines"])
  func schedulers(part: String) throws { try expectKept("schedulers", part, processors: 1) }

  @Test(
    arguments: ["stream", "frames", "waiting", "ends", "deaths", "liars", "vanishing", "several"], [1, 2])
  func pipes(part: String, processors: Int) throws { try expectKept("pipes", part, processors: processors) }

  @Test(arguments: ["messages", "sets", "rights", "dead", "liars", "names"], [1, 2])
  func ports(part: String, processors: Int) throws { try expectKept("ports", part, processors: processors) }

  @Test(arguments: ["answers", "waiting", "late", "deaths", "liars"], [1, 2])
  func calls(part: String, processors: Int) throws { try expectKept("calls", part, processors: processors) }

  @Test(arguments: ["spawn", "endings", "signals", "inherits", "many"], [1, 2])
  func processes(part: String, processors: Int) throws {
    try expectKept("processes", part, processors: processors)
  }

  /// Ten environments and all forms of communication, for `EXO_SOAK_SECONDS`.
  @Test(arguments: [1, 2]) func soak(processors: Int) throws {
    let seconds = setting("EXO_SOAK_SECONDS") ?? 2
    try expectKept("ipc-soak", "\(seconds)", processors: processors, limit: .seconds(120 + seconds))
  }
}
