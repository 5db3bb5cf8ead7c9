import ArgumentParser
import Glibc

/// The command line. What it promises (grammar, exit codes) is in `ExitStatus` and in each command's help.
@main struct Exorun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exorun",
    abstract: "Run guests on the Exo exokernel.",
    version: "exorun \(version)",
    subcommands: [
      Launch.self, Up.self, Ps.self, Top.self, TraceEvents.self, Kill.self, Guests.self, Doctor.self,
      Selftest.self, Bench.self, NewCommand.self, ManualCommand.self,
    ])

  static let version = "0.1.0"

  static func main() {
    StandardStreams.occupy()
    do {
      var command = try parseAsRoot(ArgumentGuard.separateGuest(Array(CommandLine.arguments.dropFirst())))
      try command.run()
    } catch {
      leave(error)
    }
  }

  func run() throws {
    throw Failure(.usage, "say what to do: `exorun --help` lists the commands")
  }

  /// What shows the help of the command that was meant.
  private static var helpCommand: String {
    let word = CommandLine.arguments.dropFirst().first
    let isCommand = configuration.subcommands.contains { $0._commandName == word }
    return isCommand ? "exorun \(word ?? "") --help" : "exorun --help"
  }

  /// Ends the program as an error wants it: one line for a failure, the text asked for otherwise.
  private static func leave(_ error: any Error) -> Never {
    switch error {
    case let failure as Failure:
      StandardStreams.complain(failure.message)
      Glibc.exit(failure.status.code)
    case let code as ExitCode:
      Glibc.exit(code.rawValue)
    default:
      let text = fullMessage(for: error)
      if exitCode(for: error) == .success {
        StandardStreams.write(text + "\n")
        Glibc.exit(0)
      }
      // Some of the parser's messages are lists.
      let reason = message(for: error).split(separator: "\n").map { $0.drop { $0 == " " } }
        .joined(separator: " ")
      StandardStreams.complain("\(reason) (`\(helpCommand)` shows how it is used)")
      Glibc.exit(ExitStatus.usage.code)
    }
  }
}
