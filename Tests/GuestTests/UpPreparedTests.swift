import Exo
import ExoSelftest
import Synchronization
import TestSupport
import Testing

/// Environments that are made, given something, and started later.
@Suite(.requires(.kvm), .serialized) struct UpPreparedTests {
  private final class Output: Sendable {
    private let bytes = Mutex<[UInt8]>([])
    var console: Console { Console(output: .handler { new in self.bytes.withLock { $0 += new } }) }
    var text: String { bytes.withLock { String(decoding: $0, as: UTF8.self) } }
  }

  private func image(_ name: String) throws -> GuestImage {
    let guest = try #require(GuestCatalogue.named(name))
    return try #require(try guest.image())
  }

  @Test func nothingRunsBeforeItIsStarted() throws {
    let machine = try Machine()
    defer { machine.stop() }
    let output = Output()
    let environment = try machine.prepare(
      image("hello"), name: "later", quota: machine.quota(), console: output.console)
    #expect(output.text == "")
    try environment.start(arguments: ["hello", "one"])
    #expect(environment.waitForOutcome() == .exited(status: 0))
    #expect(output.text.hasSuffix("one\n"))
    #expect(environment.name == "later")
  }

  @Test func oneIsStartedOnce() throws {
    let machine = try Machine()
    defer { machine.stop() }
    let environment = try machine.prepare(image("hello"), name: "once", quota: machine.quota())
    try environment.start(arguments: ["hello"])
    #expect(throws: LaunchError.notStartable) { try environment.start(arguments: ["hello"]) }
    #expect(environment.waitForOutcome() == .exited(status: 0))
    #expect(throws: LaunchError.notStartable) { try environment.start(arguments: ["hello"]) }
  }

  @Test func oneThatIsNeverStartedCanBeEnded() throws {
    let machine = try Machine()
    defer { machine.stop() }
    let free = machine.freeFrames
    let environment = try machine.prepare(image("hello"), name: "never", quota: machine.quota())
    #expect(machine.freeFrames < free)
    environment.kill()
    #expect(environment.waitForOutcome() == .killed(status: 137))
  }

  @Test func argumentsThatDoNotFitAreRefused() throws {
    let machine = try Machine()
    defer { machine.stop() }
    let long = String(repeating: "x", count: 1 << 18)
    #expect {
      _ = try machine.launch(image("hello"), arguments: ["hello", long])
    } throws: { error in
      if case LaunchError.argumentsTooLong = error { true } else { false }
    }
  }

  @Test func bothEndsFindWhatTheyShare() throws {
    var configuration = Machine.Configuration()
    configuration.processors = 2
    let machine = try Machine(configuration)
    defer { machine.stop() }
    let (written, read) = (Output(), Output())
    let writer = try machine.prepare(
      image("share"), name: "writer", quota: machine.quota(), console: written.console,
      timeLimit: .seconds(60))
    let reader = try machine.prepare(
      image("share"), name: "reader", quota: machine.quota(), console: read.console, timeLimit: .seconds(60))
    let share = try machine.share(pages: 3, from: writer, to: reader, rights: [.read, .write])
    #expect(share.pages == 3)
    try writer.start(
      arguments: ["share", "write", "X"], variables: ["EXO_SHARE_X=\(share.owner):\(share.pages)"])
    try reader.start(
      arguments: ["share", "read", "X"], variables: ["EXO_SHARE_X=\(share.receiver):\(share.pages)"])
    #expect(reader.waitForOutcome() == .exited(status: 0))
    #expect(writer.waitForOutcome() == .exited(status: 0))
    #expect(written.text == "3 pages, rights rwx\nwritten\nanswered\n")
    #expect(read.text == "3 pages, rights rw-\nread, 0 words wrong\n")
  }

  @Test func aShareStaysWithinQuotasAndTheMachine() throws {
    let machine = try Machine()
    defer { machine.stop() }
    let small = try machine.prepare(
      image("hello"), name: "small", quota: machine.quota(memory: 1 << 20, capabilities: 100))
    let poor = try machine.prepare(image("hello"), name: "poor", quota: machine.quota(capabilities: 7))
    let rich = try machine.prepare(image("hello"), name: "rich", quota: machine.quota())
    let free = machine.freeFrames
    #expect(throws: ShareError.quotaExceeded("small", .frames, asked: 300)) {
      try machine.share(pages: 300, from: small, to: rich, rights: .read)
    }
    // What it has not used of its seven, and one more.
    #expect(throws: ShareError.quotaExceeded("poor", .capabilities, asked: 1)) {
      for _ in 0..<8 { _ = try machine.share(pages: 1, from: rich, to: poor, rights: .read) }
    }
    #expect {
      try machine.share(pages: 60_000, from: rich, to: small, rights: .read)
    } throws: { error in
      if case ShareError.quotaExceeded = error {
        true
      } else if case ShareError.outOfMemory = error {
        true
      } else {
        false
      }
    }
    #expect(throws: ShareError.badPageCount(0, limit: 65_536)) {
      try machine.share(pages: 0, from: rich, to: small, rights: .read)
    }
    #expect(throws: ShareError.badRights(.write)) {
      try machine.share(pages: 1, from: rich, to: small, rights: .write)
    }
    // What was refused took nothing.
    #expect(free - machine.freeFrames < 8)
  }
}
