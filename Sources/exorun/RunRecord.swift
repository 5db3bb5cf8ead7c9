import Exo
import Glibc

/// All that is known of one guest's run: what exit code, message and report are made from.
struct RunRecord {
  let arguments: [String]
  /// Why it did not start.
  var failure: Failure?
  private(set) var environment: EnvironmentID?
  private(set) var outcome: Outcome?
  private(set) var fault: FaultText?
  private(set) var usage: Environment.Usage?
  /// The signal that made exorun end it.
  private(set) var signal: Int32?
  /// Where the time went before the guest's first instruction.
  private(set) var startup: [(step: String, time: Duration)] = []

  init(arguments: [String]) { self.arguments = arguments }

  var guest: String { arguments.first ?? "" }

  /// A step before those the library times.
  mutating func step(_ name: String, _ time: Duration) { startup.append((name, time)) }

  mutating func end(_ environment: Environment, _ outcome: Outcome, signal: Int32?) {
    self.environment = environment.id
    self.outcome = outcome
    self.signal = signal
    let usage = environment.usage
    self.usage = usage
    startup += usage.startup
    if case .faulted(let report) = outcome, let image = environment.image {
      fault = FaultText(report, in: image)
    }
  }

  var status: ExitStatus {
    if let failure { return failure.status }
    return outcome.map { ExitStatus($0, signal: signal) } ?? .usage
  }

  /// The kind of end, as reports name it.
  var ending: String {
    switch outcome {
    case nil: "notStarted"
    case .exited: "exited"
    case .faulted: "faulted"
    case .misused: "misused"
    case .timeLimit: "timeLimit"
    case .killed: signal == nil ? "killed" : "interrupted"
    case .hostFailure: "hostFailure"
    }
  }

  /// The end in one line; nil for a guest that ended of itself or by its user's hand, unless
  /// it failed after its output did.
  var account: String? {
    if let failure { return failure.message }
    switch outcome {
    case .exited(let status) where status != 0: return usage?.outputError.map { "\(who): \(text(of: $0))" }
    case nil, .exited: return nil
    case .killed: return signal == nil ? "\(who): killed" : nil
    case .faulted: return "\(who): \(fault?.headline ?? "")"
    case .misused(let misuse): return "\(who): ended for misuse: \(misuse)"
    case .timeLimit(let limit): return "\(who): ended at its time limit of \(limit.text)"
    case .hostFailure(let error): return "\(who): the host would not run it on: \(error)"
    }
  }
  /// As other tools say it: what could not be used, and why.
  private func text(of error: HostError) -> String { "\(error.operation): \(errorText(error.code))" }
  private var who: String { environment.map { "\(guest) (\($0))" } ?? guest }

  /// Says on standard error what there is to say.
  func explain() {
    guard let account else { return }
    guard let fault else { return StandardStreams.complain(account) }
    let style = TextStyle.of(STDERR_FILENO)
    let details = fault.details(style).map { "  \($0)\n" }.joined()
    StandardStreams.write("exorun: \(style.bold(style.red(account)))\n\(details)", to: STDERR_FILENO)
  }
}
