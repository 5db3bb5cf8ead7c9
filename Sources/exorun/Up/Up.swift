import ArgumentParser
import Exo
import Glibc

/// `exorun up`: several environments in one machine, as a file describes them.
struct Up: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run several environments in one machine, as a TOML file describes them.",
    discussion: """
      Each line an environment writes is shown after its name and ` | `. docs/up.md says what the file may hold.

      The exit code is 0 if every environment exited with 0, else that of the first in the file that did not, by the \
      rules of `launch`; 125 if the file has a mistake, of which each is told with its line; 130: interrupted.
      """)

  @OptionGroup var machine: MachineOptions

  @Argument(
    help: ArgumentHelp("The file.", valueName: "file.toml"), completion: .file(extensions: ["toml"]))
  var file: String

  func run() throws {
    let (description, problems) = try UpReader.read(file)
    guard let description else {
      for problem in problems {
        StandardStreams.write("\(file):\(problem.line): \(problem.message)\n", to: STDERR_FILENO)
      }
      let count = problems.count
      throw Failure(.usage, "\(file): \(count) mistake\(count == 1 ? "" : "s"), nothing was started")
    }
    // Before the machine's threads are started, which inherit that signals are not theirs.
    let interrupts = Interrupts.watch()
    var configuration = machine.configuration
    configuration.memory = description.memory
    configuration.control = Machine.ControlOptions()
    configuration.processors = description.processors
    let run = try UpRun(file, description, configuration)
    Glibc.exit(try run.run(interrupts).code)
  }
}
