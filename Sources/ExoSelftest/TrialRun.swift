import Exo
import Glibc
import Synchronization

/// How a trial went.
public struct TrialResult: Sendable {
  public let guest: BuiltInGuest
  public let trial: Trial
  /// Nil if it did not even start.
  public let outcome: Outcome?
  /// What was wrong; empty if nothing.
  public let problems: [String]
  /// From making the machine to the guest's end.
  public let time: Duration

  public var hasPassed: Bool { problems.isEmpty }
}

extension BuiltInGuest {
  /// Runs one trial in a machine of its own. Blocks the calling thread until the guest has ended.
  ///
  /// - Parameter isEmulated: whether the processor is an emulator's, so that the guest may not expect of it every check of
  ///   a real one. The guest is told by its variable `EXO_PROCESSOR`.
  public func run(
    _ trial: Trial, _ base: Machine.Configuration = .init(), isEmulated: Bool = false
  ) -> TrialResult {
    let start = ContinuousClock.now
    var outcome: Outcome?
    var problems: [String] = []
    let output = Mutex<[UInt8]>([])
    let input = trial.input.text
    do {
      guard let image = try image() else { throw Absent(target: target) }
      var configuration = base
      configuration.memory = trial.memory
      configuration.processors = trial.processors
      let machine = try Machine(configuration)
      defer { machine.stop() }
      let witness = trial.hasWitness ? try Witness(in: machine, image) : nil
      let free = machine.freeFrames
      let environment = try machine.launch(
        image, arguments: [name] + trial.arguments,
        variables: isEmulated ? ["EXO_PROCESSOR=emulated"] : [], memory: trial.memoryLimit,
        provisions: try provisions(),
        console: Console(
          input: .bytes(Array(input.utf8)),
          output: .handler { bytes in output.withLock { $0 += bytes } }),
        timeLimit: trial.timeLimit, isOnNetwork: trial.isOnNetwork)
      if trial.mustShare {
        if let problem = try Witness(in: machine, image).finish() { problems.append("beside it, \(problem)") }
        environment.kill()
      }
      let end = environment.waitForOutcome()
      outcome = end
      if Trial.Ending(end) != trial.ending {
        problems.append("ended with \(end.summary), not \(trial.ending)")
      }
      let wanted = isEmulated ? trial.emulatedOutput ?? trial.output : trial.output
      problems += wanted.problems(with: output.withLock { $0 }, input)
      if let witness {
        // What it said tells which way of the attack came through.
        if !problems.isEmpty { problems.append(output.withLock { String(decoding: $0, as: UTF8.self) }) }
        if let problem = witness.finish() { problems.append(problem) }
        if let problem = try Witness(in: machine, image).finish() {
          problems.append("afterwards, \(problem)")
        }
        problems += machine.missingFrames(of: free)
      }
    } catch {
      problems.append("\(error)")
    }
    return TrialResult(
      guest: self, trial: trial, outcome: outcome, problems: problems, time: ContinuousClock.now - start)
  }

  private struct Absent: Error, CustomStringConvertible {
    let target: String
    var description: String { "\(target) is not among the images built in" }
  }
}

extension Machine {
  /// Waits until what an ended family of environments held is free again, save the address spaces that are kept for the
  /// next; says so if that does not happen.
  fileprivate func missingFrames(of before: Int) -> [String] {
    let kept = Int(configuration.memory >> 12) / 8
    let end = ContinuousClock.now + .seconds(5)
    while freeFrames < before - kept {
      if ContinuousClock.now > end { return ["\(before - freeFrames) frames are not free again"] }
      usleep(1000)
    }
    return []
  }
}

extension Outcome {
  /// In a few words.
  public var summary: String {
    switch self {
    case .exited(let status): "exit \(status)"
    case .faulted(let report): "fault \(report.vector.mnemonic)"
    case .misused(let misuse): "misuse: \(misuse)"
    case .timeLimit: "time limit"
    case .killed: "killed"
    case .hostFailure(let error): "host failure: \(error)"
    }
  }
}

extension Trial.Output {
  fileprivate func problems(with bytes: [UInt8], _ input: String) -> [String] {
    let text = String(decoding: bytes, as: UTF8.self)
    switch self {
    case .anything: return []
    case .exactly(let wanted): return Self.difference(text, wanted)
    case .input: return Self.difference(text, input)
    case .containing(let parts):
      let missing = parts.filter { !text.contains($0) }
      return missing.map { "did not print \(Self.excerpt($0)) but \(Self.excerpt(text))" }
    }
  }

  private static func difference(_ text: String, _ wanted: String) -> [String] {
    if text == wanted { return [] }
    return [
      "printed \(text.utf8.count) bytes \(excerpt(text)), not \(wanted.utf8.count) \(excerpt(wanted))"
    ]
  }

  private static func excerpt(_ text: String) -> String {
    text.count > 60 ? "\(text.prefix(60).debugDescription)..." : text.debugDescription
  }
}
