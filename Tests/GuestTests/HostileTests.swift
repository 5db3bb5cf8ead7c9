import Exo
import ExoSelftest
import Synchronization
import TestSupport
import Testing

/// Every attack of the hostile guest, on a real machine, beside a witness.
@Suite(.serialized) struct HostileTests {
  /// A trial as the test's report names it.
  struct Attack: Sendable, CustomTestStringConvertible {
    let trial: Trial
    var testDescription: String {
      "\(trial.arguments.joined(separator: " ")) on \(trial.processors)"
    }
    static let all = (GuestCatalogue.named("hostile")?.trials ?? []).map { Attack(trial: $0) }
  }

  @Test(.requires(.kvm), arguments: Attack.all) func isRefused(_ attack: Attack) throws {
    let guest = try #require(GuestCatalogue.named("hostile"))
    let result = guest.run(attack.trial)
    #expect(result.problems == [])
  }

  /// The guest's list and the table of ends name the same attacks.
  @Test(.requires(.kvm)) func everyAttackHasAnEnd() throws {
    let guest = try #require(GuestCatalogue.named("hostile"))
    let image = try #require(try guest.image())
    let machine = try Machine()
    defer { machine.stop() }
    let output = Mutex<[UInt8]>([])
    let environment = try machine.launch(
      image, arguments: ["hostile", "--list"],
      console: Console(output: .handler { bytes in output.withLock { $0 += bytes } }), timeLimit: .seconds(10)
    )
    #expect(environment.waitForOutcome() == .exited(status: 0))
    let listed = output.withLock { String(decoding: $0, as: UTF8.self) }
      .split(separator: "\n").compactMap { $0.split(separator: " ").first.map(String.init) }
    #expect(Set(listed).count == listed.count)
    #expect(Set(listed) == Set(guest.trials.flatMap(\.arguments)))
  }
}
