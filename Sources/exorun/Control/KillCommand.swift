import ArgumentParser
import Exo
import Glibc
import JSONText

/// `exorun kill`: ends environments of a running machine.
struct Kill: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kill",
    abstract: "End environments of a running machine.",
    discussion: """
      ENV is an environment's number, or its name where one environment only has it (`exorun ps` shows \
      both). The machine ends it as if its time limit had run out at that moment: its bindings are broken, \
      its frames are free, and the environments that it created end with it; all others go on. The command \
      returns when it has ended.

      An environment that is ended so has the exit status 137: that is what `exorun launch` exits with \
      then, and `exorun up` if it is the first in the file that did not exit with 0.

      EXAMPLES
        exorun kill cat               the only one of that name, if one machine runs
        exorun kill --machine 4711 3  environment 3 of machine 4711

      EXIT STATUS
        0 when all have ended; 125 if there is no such machine or environment, or if
        it must be said which; then nothing has been ended.
      """)

  @OptionGroup var choice: MachineChoice

  @Argument(help: ArgumentHelp("The environments to end, by number or name.", valueName: "env"))
  var environments: [String]

  func run() throws {
    let connection = try choice.connect()
    let observed = try ObservedMachine(from: connection)
    var numbers: [UInt64] = []
    for word in environments { numbers.append(try observed.number(of: word)) }
    for number in numbers {
      try connection.send([("do", .string("kill")), ("environment", .integer(number))])
      do throws(Failure) { _ = try connection.answer() } catch {
        // One that ended of itself meanwhile, with its machine perhaps, is as dead as was wanted.
        if connection.hasEnded { return }
        guard try !Self.isGone(number, connection) else { continue }
        throw error
      }
    }
  }

  private static func isGone(_ number: UInt64, _ connection: ControlConnection) throws(Failure) -> Bool {
    try ObservedMachine(from: connection).environments.allSatisfy {
      $0.number != number || $0.state == "ended"
    }
  }
}
