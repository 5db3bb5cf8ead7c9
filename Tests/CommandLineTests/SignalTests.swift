import Glibc
import TestSupport
import Testing

extension ExorunTests {
  @Suite(.requires(.kvm)) struct Signals {
    /// A guest that has said something, so that it is known to run, and that waits for more.
    private func waitingCat(onTerminal: Bool = false) throws -> RunningCommand {
      var command = Command.exorun("launch", "cat").reading(.waiting)
      command.onTerminal = onTerminal
      return try command.start()
    }

    @Test(arguments: [(SIGINT, 130), (SIGTERM, 143)] as [(Int32, Int32)])
    func aSignalEndsAGuestThatWaits(signal: Int32, code: Int32) throws {
      let running = try waitingCat()
      // Sent early on purpose: whatever exorun is doing, it must not be lost.
      usleep(300_000)
      running.signal(signal)
      let result = running.finish()
      #expect(result.status == .exited(code))
      #expect(result.errors == "")
    }

    @Test func aSignalEndsAGuestThatComputes() throws {
      let scratch = Scratch()
      let running = try Command.exorun("launch", scratch.file("spin", TinyImage.spinning.bytes)).start()
      usleep(500_000)
      running.signal(SIGINT)
      #expect(running.finish().status == .exited(130))
    }

    /// A user's queue of signals may be full, whoever filled it.
    @Test(.requires(.program("prlimit", package: "util-linux")))
    func aGuestIsEndedEvenWhereSignalsCannotQueue() throws {
      let scratch = Scratch()
      let image = scratch.file("spin", TinyImage.spinning.bytes)
      let exorun = Command.exorun("launch", "--time-limit", "200ms", image)
      var command = Command("/usr/bin/prlimit", ["--sigpending=0:0", exorun.path] + exorun.arguments)
      command.limit = .seconds(20)
      #expect(try command.run().status == .exited(124))
    }

    @Test func aSignalAtAnyMomentOfTheStartEndsIt() throws {
      for moment in stride(from: useconds_t(0), to: 120_000, by: 12_000) {
        let running = try waitingCat()
        usleep(moment)
        running.signal(SIGINT)
        let status = running.finish().status
        // Before exorun watches for it, the signal does what it always does.
        try #require(status == .exited(130) || status == .signalled(SIGINT), "after \(moment) us")
      }
    }

    /// Here it waits for somebody to read its report.
    @Test func aSignalBeforeThereIsAGuestEndsItToo() throws {
      let scratch = Scratch()
      let pipe = scratch.file("pipe")
      mkfifo(pipe, 0o600)
      let running = try Command.exorun("launch", "--report", pipe, "hello").start()
      usleep(500_000)
      #expect(running.isAlive)
      running.signal(SIGINT)
      #expect(running.finish().status == .exited(130))
    }

    @Test func controlCLeavesTheTerminalAsItWas() throws {
      let running = try waitingCat(onTerminal: true)
      let modes = running.terminalModes
      running.enter("echo\n")
      // Once typed, once copied.
      #expect(running.waitForOutput("echo\r\necho\r\n"))
      running.enter("\u{3}")
      #expect(running.finish().status == .exited(130))
      #expect(running.terminalModes == modes)
    }

    @Test func controlDEndsTheInput() throws {
      let running = try waitingCat(onTerminal: true)
      running.enter("echo\n")
      #expect(running.waitForOutput("echo\r\necho\r\n"))
      running.enter("\u{4}")
      #expect(running.finish().status == .exited(0))
    }

    /// As under `nohup`, and in a script's background jobs.
    @Test func anIgnoredSIGINTStaysIgnored() throws {
      var command = Command.exorun("launch", "cat").reading(.waiting)
      command.ignoredSignals = [SIGINT]
      let running = try command.start()
      usleep(300_000)
      running.signal(SIGINT)
      usleep(300_000)
      #expect(running.isAlive)
      running.signal(SIGTERM)
      #expect(running.finish().status == .exited(143))
    }
  }
}
