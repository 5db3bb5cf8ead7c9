import CKVM
import ExoABI
import Testing

@testable import Exo

/// Random calls by several environments, with every invariant looked at after each.
///
/// `EXO_SEED` repeats a run; `EXO_MODEL_SECONDS` and `EXO_FUZZ_CALLS` make it long.
@Suite struct KernelModelTests {
  /// Runs one machine until the time is up or something is wrong. Returns how many steps it took.
  @Test func invariantsHoldWhateverEnvironmentsDo() throws {
    let first = KernelRun.seed
    var seed = first
    let end = ckvm_monotonic() + UInt64(KernelRun.seconds(5) * 1e9)
    var (steps, machines) = (0, 0)
    while ckvm_monotonic() < end {
      let model = try KernelModel(seed: seed)
      machines += 1
      // Machines are short, so that a failure is short too.
      for step in 0..<2_000 where ckvm_monotonic() < end || step < 10 {
        var wrong = model.step()
        wrong += model.bench.kernel.checkInvariants { ($0.number &+ UInt32(step)) % 16 == 0 }
        if !wrong.isEmpty {
          Issue.record(
            "EXO_SEED=\(seed), step \(model.steps):\n\(wrong.joined(separator: "\n"))\n\(model.trace.joined(separator: "\n"))"
          )
          return
        }
        steps += 1
      }
      #expect(model.bench.kernel.checkInvariants() == [], "EXO_SEED=\(seed)")
      seed &+= 1
    }
    print("kernel model: from EXO_SEED=\(first), \(steps) steps on \(machines) machines")
  }

  /// As many random submissions as fit, well formed or not, checked now and then.
  @Test func nothingInASubmissionStopsTheKernel() throws {
    let first = KernelRun.seed
    var seed = first
    let calls = KernelRun.calls(200_000)
    var (made, accepted) = (0, 0)
    while made < calls {
      let model = try KernelModel(seed: seed)
      model.checksState = false
      model.lifetime = 8
      var wrong: [String] = []
      for _ in 0..<20 where wrong.isEmpty {
        for _ in 0..<250 where wrong.isEmpty { wrong += model.step() }
        wrong += model.bench.kernel.checkInvariants()
      }
      if !wrong.isEmpty {
        Issue.record("EXO_SEED=\(seed), by step \(model.steps): \(wrong.joined(separator: "\n"))")
        return
      }
      made += model.calls
      accepted += model.accepted
      seed &+= 1
    }
    print("exocall fuzzing: from EXO_SEED=\(first), \(made) calls, \(accepted) carried out")
  }
}
