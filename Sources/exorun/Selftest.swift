import ArgumentParser
import Exo
import ExoSelftest
import Glibc
import JSONText

/// `exorun selftest`: every built-in guest and the end it must come to, in a table that can be sent back.
struct Selftest: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run every built-in guest and check how it ends.",
    discussion: "Exits 0 if all pass, else 1. The last line is `N passed, N failed`.")

  @OptionGroup var machine: MachineOptions

  @Flag(help: "As JSON.")
  var json = false

  @Flag(
    help: ArgumentHelp(
      "The processor is an emulator's: do not expect #SS, #AC, #XM and checks of bases of it.",
      discussion: "QEMU without an accelerator leaves these out."))
  var emulated = false

  @Argument(
    help: ArgumentHelp("The guests to run; all if none is named.", valueName: "name"),
    completion: .list(GuestCatalogue.all.map(\.name)))
  var names: [String] = []

  func run() throws {
    let guests = try chosen()
    // Without a machine every line would fail for the same reason: say it once.
    try makeMachine(machine.configuration).stop()
    var results: [TrialResult] = []
    if !json { StandardStreams.write(Self.row("", "guest", "must end with", "ended with", "time") + "\n") }
    for guest in guests {
      for trial in guest.trials {
        let result = guest.run(trial, machine.configuration, isEmulated: emulated)
        results.append(result)
        if !json { StandardStreams.write(Self.text(result, TextStyle.of(STDOUT_FILENO))) }
      }
    }
    let failed = results.count { !$0.hasPassed }
    StandardStreams.write(
      json ? Self.json(results).text() + "\n" : "\(results.count - failed) passed, \(failed) failed\n")
    if failed > 0 { throw ExitCode(1) }
  }

  private func chosen() throws -> [BuiltInGuest] {
    if names.isEmpty { return GuestCatalogue.all }
    return try names.map { name in
      guard let guest = GuestCatalogue.named(name) else {
        throw Failure(.noSuchGuest, "no guest is called `\(name)`: `exorun guests` lists those built in")
      }
      return guest
    }
  }

  // --- the table

  private static func row(_ mark: String, _ guest: String, _ wanted: String, _ got: String, _ time: String)
    -> String
  {
    "\(mark.padded(to: 6))\(guest.padded(to: 38))\(wanted.padded(to: 16))\(got.padded(to: 16))\(time)"
  }

  private static func text(_ result: TrialResult, _ style: TextStyle) -> String {
    let command = ([result.guest.name] + result.trial.arguments.map(quoted)).joined(separator: " ")
    let line = row(
      result.hasPassed ? "ok" : "FAIL", command + conditions(result.trial), result.trial.ending.description,
      result.outcome.map(\.summary) ?? "-", result.time.text)
    let mark = result.hasPassed ? style.green : style.red
    return mark(line) + "\n" + result.problems.map { "      \($0)\n" }.joined()
  }
  private static func quoted(_ word: String) -> String { word.contains(" ") ? "'\(word)'" : word }

  /// What sets this trial apart besides its arguments.
  private static func conditions(_ trial: Trial) -> String {
    let input = trial.input.text.utf8.count
    var text = input > 0 ? " < \(input) bytes" : ""
    if trial.memory != Trial.usualMemory { text += " in \(memoryText(trial.memory))" }
    return text
  }

  private static func json(_ results: [TrialResult]) -> JSON {
    .members([
      ("passed", .integer(results.count(where: \.hasPassed))),
      ("failed", .integer(results.count { !$0.hasPassed })),
      ("trials", .array(results.map(json))),
    ])
  }
  private static func json(_ result: TrialResult) -> JSON {
    .members([
      ("guest", .string(result.guest.name)), ("arguments", .strings(result.trial.arguments)),
      ("inputBytes", .integer(result.trial.input.text.utf8.count)), ("memory", .integer(result.trial.memory)),
      ("mustEndWith", .string(result.trial.ending.description)),
      ("endedWith", .optional(result.outcome.map(\.summary))), ("passed", .bool(result.hasPassed)),
      ("problems", .strings(result.problems)), ("microseconds", .number(result.time.microseconds)),
    ])
  }
}
