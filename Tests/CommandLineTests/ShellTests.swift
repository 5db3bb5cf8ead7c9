import Glibc
import TestSupport
import Testing

extension ExorunTests {
  /// `exorun launch sh` as a person has it: on a pseudo-terminal.
  @Suite(.requires(.kvm), .serialized) struct Shells {
    private func start() throws -> RunningCommand {
      var command = Command.exorun("launch", "sh")
      command.onTerminal = true
      command.limit = .seconds(120)
      let shell = try command.start()
      #expect(shell.waitForOutput("exo$ "))
      return shell
    }

    @Test func pipesFilesAndHistory() throws {
      let shell = try start()
      shell.enter("hello from a terminal | cat\r")
      // Each time with the prompt: what is typed before it is the job's.
      #expect(shell.waitForOutput("own.\r\nfrom\r\na\r\nterminal\r\nexo$ "))
      // The arrow brings the line back, ^A and ^D change its beginning, and the end is taken off.
      shell.enter("echo x1y > /f\r")
      #expect(shell.waitForOutput("> /f\r\nexo$ "))
      shell.enter("\u{1b}[A\u{1}\u{5}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}z\r")
      #expect(shell.waitForOutput("\r\nx1yz\r\nexo$ "))
      shell.enter("cat < /f | wc\r")
      #expect(shell.waitForOutput("\r\n1 1 4\r\nexo$ "))
      shell.enter("history\r")
      #expect(
        shell.waitForOutput("2  echo x1y > /f\r\n3  echo x1yz\r\n4  cat < /f | wc\r\n5  history\r\nexo$ "))
      shell.enter("\u{4}")
      #expect(shell.finish().status == .exited(0))
    }

    @Test func jobsAreInterruptedStoppedAndGoOn() throws {
      let shell = try start()
      shell.enter("cat\r")
      #expect(shell.waitForOutput("cat\r\n"))
      shell.enter("typed\r")
      #expect(shell.waitForOutput("typed\r\ntyped\r\n"))
      shell.enter("\u{1a}")
      #expect(shell.waitForOutput("stopped  cat\r\nexo$ "))
      shell.enter("jobs\r")
      #expect(shell.waitForOutput("jobs\r\n[1] stopped  cat\r\nexo$ "))
      shell.enter("fg\r")
      #expect(shell.waitForOutput("fg\r\ncat\r\n"))
      shell.enter("again\r")
      #expect(shell.waitForOutput("again\r\nagain\r\n"))
      shell.enter("\u{3}")
      #expect(shell.waitForOutput("(status 130)\r\nexo$ "))
      shell.enter("hello > /out &\r")
      // The job may be over before the prompt, which then comes after the word of that.
      #expect(shell.waitForOutput("[2] hello\r\n", andThen: "exo$ "))
      shell.enter("wait; cat < /out\r")
      #expect(shell.waitForOutput("\r\nHello from an environment of its own.\r\nexo$ "))
      // ^C at the prompt gives the line up.
      shell.enter("junk\u{3}exit 7\r")
      #expect(shell.finish().status == .exited(7))
    }

    /// Nothing is used up by jobs that are over, nor by many at once.
    @Test func hundredsOfJobs() throws {
      var lines = Array(repeating: "true", count: 150) + Array(repeating: "echo x | cat", count: 50)
      lines += Array(repeating: "true &", count: 80) + ["wait", "echo $?"]
      var command = Command.exorun("launch", "sh")
      command.limit = .seconds(120)
      let result = try command.reading(.text(lines.map { $0 + "\n" }.joined())).run()
      #expect(result.status == .exited(0))
      #expect(result.errors == "")
      #expect(result.output.hasSuffix("\n0\n"))
      #expect(result.output.split(separator: "\n").count { $0 == "x" } == 50)
    }

    @Test func theTerminalIsAsItWas() throws {
      var command = Command.exorun("launch", "sh")
      command.onTerminal = true
      let shell = try command.start()
      #expect(shell.waitForOutput("exo$ "))
      #expect(shell.terminalModes[3] & UInt32(ECHO | ICANON) == 0)
      shell.enter("exit\r")
      #expect(shell.finish().status == .exited(0))
      #expect(shell.terminalModes[3] & UInt32(ECHO | ICANON) == UInt32(ECHO | ICANON))
    }
  }
}
