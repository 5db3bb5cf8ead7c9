import CKVM
import TestSupport
import Testing

@testable import Exo

/// The exokernel's promise put to the test on the machine at hand: what is unmapped, lowered, revoked or freed is gone
/// when the call returns, on both processors, however the address space is used.
@Suite(.serialized) struct ModelTests {
  /// `EXO_SEED` repeats the test's choices (not the guests' timing); `EXO_MODEL_SECONDS` makes it long.
  @Test(.requires(.kvm)) func noGuestSeesWhatItHasNoMore() throws {
    let seed = environmentVariable("EXO_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 1 ... .max)
    let seconds = environmentVariable("EXO_MODEL_SECONDS").flatMap { Double($0) } ?? 15
    let model = try ModelMachine(seed: seed)
    defer { model.machine.stop() }
    let end = ckvm_monotonic() + UInt64(seconds * 1e9)
    while ckvm_monotonic() < end {
      let wrong = try model.step()
      guard wrong.isEmpty else {
        let text = (["EXO_SEED=\(seed)"] + wrong.prefix(20) + model.trace).joined(separator: "\n")
        Issue.record(Comment(rawValue: text))
        return
      }
    }
    #expect(model.records > model.steps, "the guests hardly ran")
    let done = model.done.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    print(
      "stale access: EXO_SEED=\(seed), \(model.steps) steps, \(model.lives) guests, \(model.records) records: \(done)"
    )
  }
}
