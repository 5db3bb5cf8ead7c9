import ExoABI
import TestSupport
import Testing

@testable import Exo

/// What is said to an environment after its end reaches nobody: its pages are another's by then.
@Suite struct ModelEndTests {
  @Test(.requires(.kvm)) func anEventAfterTheEndIsNotWritten() throws {
    let machine = try Machine()
    defer { machine.stop() }
    machine.withKernel { $0.restingLimit = 1 }
    let image = try GuestImage(name: "model", bytes: ModelProgram.image)
    let ended = try machine.launch(image, arguments: ["model"])
    let page = try #require(machine.withKernel { $0.domains[ended.id]?.shell.events })
    ended.kill()
    _ = ended.waitForOutcome()
    let next = try machine.launch(image, arguments: ["model"])
    #expect(machine.withKernel { $0.domains[next.id]?.shell.events } == page)
    ended.post(Event(kind: .childEnded, data: 7))
    #expect(machine.memory.load(page.address) == 0)
    next.post(Event(kind: .message, data: 7))
    #expect(machine.memory.load(page.address) == 1)
  }

  /// An event that finds the ring full is counted as lost, and still ends a sleep: it may be what the sleeper waits for.
  @Test(.requires(.kvm)) func anEventThatIsLostWakesTheSleeper() throws {
    let machine = try Machine()
    defer { machine.stop() }
    let image = try GuestImage(name: "model", bytes: ModelProgram.image)
    let environment = try machine.launch(image, arguments: ["model"])
    let capacity = Int(EXO_EVENT_CAPACITY)
    for _ in 0..<capacity { environment.post(Event(kind: .message, data: 7)) }
    let seen = environment.eventsPosted.load(ordering: .sequentiallyConsistent)
    environment.post(Event(kind: .gate, data: 8))
    #expect(environment.events.withLock { $0.lost } == 1)
    #expect(environment.hasNewEvents(since: seen))
  }
}
