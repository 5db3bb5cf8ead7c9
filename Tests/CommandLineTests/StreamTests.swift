import Glibc
import TestSupport
import Testing

extension ExorunTests {
  /// Standard streams, as with any Unix tool.
  @Suite(.requires(.kvm)) struct Streams {
    @Test func whatComesInGoesOut() throws {
      let text = (0..<100_000).map { "\($0)\n" }.joined()
      let result = try Command.exorun("launch", "cat").reading(.text(text)).run()
      #expect(result.status == .exited(0))
      #expect(result.output == text)
      #expect(result.errors == "")
    }

    @Test func anEmptyInputEnds() throws {
      let result = try Command.exorun("launch", "cat").run()
      #expect(result.status == .exited(0))
      #expect(result.output == "")
    }

    /// Reading a closed descriptor is an error, and none of exorun's own files may take its number.
    @Test func aClosedInputIsAnErrorToWhoReadsIt() throws {
      #expect(try Command.exorun("launch", "cat").reading(.closed).run().status == .exited(1))
      let hello = try Command.exorun("launch", "hello").reading(.closed).run()
      #expect(hello.status == .exited(0))
      #expect(hello.output == "Hello from an environment of its own.\n")
    }

    @Test func aClosedOutputIsAnErrorToWhoWrites() throws {
      var command = Command.exorun("launch", "cat").reading(.text("lost"))
      command.output = .closed
      #expect(try command.run().status == .exited(1))
    }

    /// What `print` could not write makes a failure of the guest's success, and exorun says why.
    @Test func whatIsPrintedAndLostIsAFailure() throws {
      var command = Command.exorun("launch", "hello")
      command.output = .full
      let result = try command.run()
      #expect(result.status == .exited(1))
      #expect(result.errors == "exorun: hello (environment 1): standard output: No space left on device\n")
    }

    @Test func anAnswerThatCannotBeWrittenIsAnError() throws {
      var table = Command.exorun("guests")
      table.output = .closed
      let result = try table.run()
      #expect(result.status == .exited(125))
      #expect(result.errors == "exorun: standard output: Bad file descriptor\n")
    }

    @Test func aPipeThatNobodyReadsEndsItBySIGPIPE() throws {
      var command = Command.exorun("launch", "cat").reading(.text("lost"))
      command.output = .broken
      #expect(try command.run().status == .signalled(SIGPIPE))
      // As do exorun's own tables.
      var table = Command.exorun("guests")
      table.output = .broken
      #expect(try table.run().status == .signalled(SIGPIPE))
    }

    @Test func anIgnoredSIGPIPEIsAnErrorToWhoWrites() throws {
      var command = Command.exorun("launch", "cat").reading(.text("lost"))
      command.output = .broken
      command.ignoredSignals = [SIGPIPE]
      #expect(try command.run().status == .exited(1))
    }

    /// Under 2% of a processor, counted once it has come to rest.
    @Test(arguments: [false, true]) func waitingForInputCostsNothing(onTerminal: Bool) throws {
      var command = Command.exorun("launch", "cat").reading(.waiting)
      command.onTerminal = onTerminal
      let running = try command.start()
      sleep(1)
      let before = running.processorTicks
      sleep(2)
      let ticks = running.processorTicks - before
      #expect(running.isAlive)
      #expect(ticks <= 4)
      running.signal(SIGTERM)
      #expect(running.finish().status == .exited(143))
    }
  }
}
