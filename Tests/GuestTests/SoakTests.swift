import ExoSelftest
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Exo

func setting(_ name: String) -> UInt64? {
  unsafe getenv(name).flatMap { UInt64(unsafe String(cString: $0)) }
}

/// Everything at once, for `EXO_SOAK_SECONDS` (600 for a soak), on two processors: it needs them for itself. `EXO_SEED` repeats a run.
@Suite(
  .requires(.kvm), .serialized,
  .enabled(if: setting("EXO_SOAK_SECONDS") != nil, "set EXO_SOAK_SECONDS=60 to run it"))
struct SoakTests {

  @Test func nothingGoesWrongAndNothingIsLeft() throws {
    let seconds = setting("EXO_SOAK_SECONDS") ?? 5
    let seed = setting("EXO_SEED") ?? UInt64.random(in: 1...1_000_000)
    let image = try #require(try GuestCatalogue.named("soak")?.image())
    var configuration = Machine.Configuration()
    configuration.processors = 2
    let machine = try Machine(configuration)
    let free = machine.freeFrames
    let output = Mutex<[UInt8]>([])
    let environment = try machine.launch(
      image, arguments: ["soak", "\(seconds)", "\(seed)", "\(machine.processors.count)"],
      console: Console(output: .handler { bytes in output.withLock { $0 += bytes } }),
      timeLimit: .seconds(Int64(seconds) * 3 + 300))
    let outcome = environment.waitForOutcome()
    let text = output.withLock { String(decoding: $0, as: UTF8.self) }
    #expect(outcome == .exited(status: 0), "seed \(seed): \(text)")
    guard outcome == .exited(status: 0) else { return machine.stop() }
    machine.withKernel { kernel in
      kernel.reclaim()
      #expect(kernel.checkInvariants() == [], "seed \(seed)")
      #expect(kernel.domains.isEmpty)
      #expect(kernel.connections.isEmpty && kernel.gates.isEmpty)
      // Address spaces are kept for the next ones.
      let kept = kernel.idleShells.reduce(0) { $0 + $1.frameCount }
      #expect(kernel.frames.freeCount + kept == free, "seed \(seed): frames are missing")
    }
    machine.stop()
  }
}
