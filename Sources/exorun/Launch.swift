import ArgumentParser
import Exo
import ExoSelftest
import Glibc

/// `exorun launch`: one guest in a machine of its own.
struct Launch: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a guest until it ends.",
    usage: "exorun launch [OPTIONS] GUEST [ARGS...]",
    discussion: """
      GUEST is a built-in guest (`exorun guests`) or the path of an image. Everything after it belongs to the guest, \
      options included.

      The exit code is the guest's own, or 122: ended for misuse; 123: ended by quota or repossession; 124: time \
      limit; 125: exorun, KVM or usage; 126: not an image that can run; 127: no such guest; 128 + n: a fault where \
      Linux would send signal n; 130: interrupted. --report tells apart what shares a number.
      """)

  @OptionGroup var machine: MachineOptions
  @OptionGroup var network: NetworkOptions

  @Option(
    help: ArgumentHelp("The machine's memory: 64M, 1G.", valueName: "size"), transform: parseMemorySize)
  var memory: UInt64 = 64 << 20

  @Option(
    help: ArgumentHelp("End the guest after this long: 10s, 500ms.", valueName: "duration"),
    transform: parseDuration)
  var timeLimit: Duration?

  @Option(
    name: .customLong("env"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "Set a variable of the guest's environment; may be repeated.", valueName: "name=value"),
    transform: parseVariable)
  var variables: [String] = []

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Write how it ended and what it used to a file, - for standard error.", valueName: "file"))
  var report: String?

  @Option(help: "The report's form: json (which FILE.json means too) or text.")
  var reportFormat: ReportFormat?

  @Argument(
    parsing: .captureForPassthrough,
    help: ArgumentHelp("The guest, and what it is to get.", valueName: "guest"),
    completion: .list(GuestCatalogue.all.map(\.name)))
  var words: [String] = []

  func run() throws {
    let words = try guestWords()
    // Before the machine's threads are started, which inherit that signals are not theirs.
    let interrupts = Interrupts.watch()
    let destination = try report.map { try ReportDestination($0, reportFormat) }
    var record = RunRecord(arguments: words)
    do throws(Failure) {
      try launch(words, interrupts, &record)
    } catch {
      record.failure = error
    }
    // The account first: it must not be lost to whatever becomes of the report.
    record.explain()
    if let destination { try destination.write(record) }
    Glibc.exit(record.status.code)
  }

  /// The guest and its arguments.
  private func guestWords() throws -> [String] {
    var words = self.words
    if words.first == "--" {
      words.removeFirst()
    } else if let option = words.first, option.hasPrefix("-") {
      if option == "--help" || option == "-h" { throw CleanExit.helpRequest(self) }
      throw Failure(.usage, "`launch` knows no option `\(option)` (`exorun launch --help` lists them)")
    }
    guard let guest = words.first, !guest.isEmpty else {
      throw Failure(.usage, "say which guest to launch (`exorun guests` lists those built in)")
    }
    return words
  }

  private func launch(_ words: [String], _ interrupts: Interrupts, _ record: inout RunRecord) throws(Failure)
  {
    let began = ContinuousClock.now
    let image = try GuestSource.image(words[0])
    record.step("image", ContinuousClock.now - began)
    var configuration = machine.configuration
    configuration.memory = memory
    configuration.control = Machine.ControlOptions()
    let machine: Machine
    do throws(MachineError) { machine = try Machine(configuration) } catch {
      throw Failure(.usage, "\(error)")
    }
    defer { machine.stop() }
    var console = Console.standard
    // As if this thread had written. Ignored where SIGPIPE is; the guest's write then fails.
    console.whenBroken = { kill(getpid(), SIGPIPE) }
    try machine.connect(network.choice, publishing: network.publish)
    let guest = words[0].contains("/") ? nil : GuestCatalogue.named(words[0])
    let terminal = guest?.editsLines ?? false ? RawTerminal() : nil
    defer { terminal?.restore() }
    let provisions: [(variable: String, bytes: [UInt8])]
    do throws(ImageError) { provisions = try guest?.provisions() ?? [] } catch {
      throw Failure(.notRunnable, "\(words[0]): \(error)")
    }
    let environment: Environment
    do throws(LaunchError) {
      environment = try machine.launch(
        image, arguments: words, variables: variables + (terminal == nil ? [] : ["EXO_TERMINAL=raw"]),
        provisions: provisions, console: console, timeLimit: timeLimit,
        isOnNetwork: network.choice != .none)
    } catch {
      throw Failure(.usage, "\(words[0]): \(error)")
    }
    interrupts.onFirst { environment.kill() }
    let outcome = environment.waitForOutcome()
    record.end(environment, outcome, signal: interrupts.signal)
  }
}
