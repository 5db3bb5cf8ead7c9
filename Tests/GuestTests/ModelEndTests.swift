import ExoABI
import TestSupport
import Testing

@testable import Exo

/// What is said to an environment after its end reaches nobody: its pages are another's by then.
@Suite struct ModelEndTests {
  @Test(.requires(.kvm)) func anEventAfterTheEndIsNotWritten() throws {
    let machine = try Machine()
    defer { machine.stop() }
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
}
