import ArgumentParser
import Exo
import Glibc
import Logging

/// Log lines on standard error, one each, in the form of exorun's other messages.
struct StandardErrorLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var line = "\(event.level): \(event.message)"
    for (key, value) in (event.metadata ?? [:]).sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
    StandardStreams.complain(line)
  }
}

/// How much the log says, as people type it.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
  case trace, debug, info, notice, warning, error, critical

  var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .warning }
}

/// Options of commands that make a machine.
struct MachineOptions: ParsableArguments {
  @Flag(name: .shortAndLong, help: "Say what happens (the same as --log-level debug).")
  var verbose = false

  @Option(
    help: ArgumentHelp(
      "What to say on standard error: trace, debug, info, warning, error.", valueName: "level"))
  var logLevel: LogLevel?

  @Option(help: .hidden)
  var device: String?

  @Option(
    help: ArgumentHelp(
      "Use the mechanisms of this kind of machine, for a test: native, interpreted.",
      valueName: "kind", visibility: .hidden))
  var substrate: Substrate.Kind?

  /// The machine's configuration as far as these options set it.
  var configuration: Machine.Configuration {
    var configuration = Machine.Configuration()
    // Tests point it elsewhere.
    configuration.device = device ?? "/dev/kvm"
    configuration.substrate = substrate
    var logger = Logger(label: "exo") { _ in StandardErrorLog() }
    logger.logLevel = logLevel?.level ?? (verbose ? .debug : .warning)
    configuration.logger = logger
    return configuration
  }
}

/// Makes a machine, or says in one line why not.
func makeMachine(_ configuration: Machine.Configuration) throws -> Machine {
  do throws(MachineError) { return try Machine(configuration) } catch { throw Failure(.usage, "\(error)") }
}

extension Substrate.Kind: ExpressibleByArgument {}
