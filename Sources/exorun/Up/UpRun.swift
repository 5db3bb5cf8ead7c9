import Exo
import ExoSelftest
import Glibc

/// Environments of one machine, running: moves what they write to standard output, and says how each ended.
final class UpRun {
  private let path: String
  private let description: UpDescription
  private let machine: Machine
  private var environments: [Environment] = []
  private var outputs: [Output] = []
  /// Tells this thread which environment has ended.
  private let ends: OutputPipe
  private var statuses: [ExitStatus?]
  /// The errno of standard output, once it takes no more.
  private var outputError: Int32 = 0

  private final class Output {
    let pipe: OutputPipe
    var lines: LabelledLines
    init(label: String) throws(Failure) {
      pipe = try OutputPipe()
      lines = LabelledLines(label: label)
    }
  }

  /// Makes the environments and what they share; starts nothing.
  init(
    _ path: String, _ description: UpDescription, _ configuration: Machine.Configuration
  ) throws(Failure) {
    self.path = path
    self.description = description
    statuses = Array(repeating: nil, count: description.environments.count)
    ends = try OutputPipe()
    do throws(MachineError) { machine = try Machine(configuration) } catch {
      if case .badMemorySize = error { throw Failure(.usage, "\(path):\(description.machineLine): \(error)") }
      throw Failure(.usage, "\(error)")
    }
    do throws(Failure) {
      try machine.connect(description.network, publishing: description.published)
      for (index, wanted) in description.environments.enumerated() { try prepare(wanted, index) }
    } catch {
      machine.stop()
      throw error
    }
  }

  private func prepare(_ wanted: UpDescription.Environment, _ index: Int) throws(Failure) {
    let output = try Output(label: label(wanted.name, index))
    let quota = machine.quota(
      memory: wanted.memory, capabilities: wanted.capabilities, bindings: wanted.bindings,
      environments: wanted.environments)
    do throws(LaunchError) {
      environments.append(
        try machine.prepare(
          wanted.image, name: wanted.name, quota: quota,
          console: Console(input: wanted.input, output: .descriptor(output.pipe.writer)),
          timeLimit: wanted.timeLimit))
    } catch {
      throw Failure(.usage, "\(path):\(wanted.line): \(wanted.name): \(error)")
    }
    outputs.append(output)
  }

  /// `name | `, in a colour of its own where colours are welcome.
  private func label(_ name: String, _ index: Int) -> String {
    guard TextStyle.of(STDOUT_FILENO).isColoured else { return "\(name) | " }
    let colours = [36, 33, 32, 35, 34, 31]
    return "\u{1b}[\(colours[index % colours.count])m\(name) |\u{1b}[0m "
  }

  // --- running

  /// Starts everything and returns when all have ended: with 0 if each exited with 0, else what the first in the file that
  /// did not ended with.
  func run(_ interrupts: Interrupts) throws(Failure) -> ExitStatus {
    let environments = self.environments
    interrupts.onFirst { for environment in environments { environment.kill() } }
    do throws(Failure) {
      try start(try shareOut(), interrupts)
    } catch {
      machine.stop()
      throw error
    }
    var running = environments.count
    while running > 0 {
      OutputPipe.wait(for: [ends.reader] + outputs.map { $0.pipe.reader })
      for output in outputs { move(output) }
      for number in ends.numbers() {
        running -= 1
        end(Int(number), interrupts)
      }
    }
    // Whatever they had made ends with them, and may have written until then.
    machine.stop()
    for output in outputs { finish(output) }
    if outputError == EPIPE { return .signal(SIGPIPE) }
    if outputError != 0 { return .usage }
    if let signal = interrupts.signal { return .signal(signal) }
    return statuses.compactMap { $0 }.first { $0.code != 0 } ?? .guest(0)
  }

  /// Makes the shares. Returns the variables that tell each environment of its own.
  private func shareOut() throws(Failure) -> [[String]] {
    var variables = description.environments.map(\.variables)
    for share in description.shares {
      do throws(ShareError) {
        let made = try machine.share(
          pages: share.pages, from: environments[share.owner], to: environments[share.receiver],
          rights: share.rights)
        variables[share.owner].append("EXO_SHARE_\(share.name)=\(made.owner):\(made.pages)")
        variables[share.receiver].append("EXO_SHARE_\(share.name)=\(made.receiver):\(made.pages)")
      } catch {
        throw Failure(.usage, "\(path):\(share.line): share \(share.name): \(error)")
      }
    }
    for index in environments.indices where description.network != .none {
      do throws(ShareError) {
        variables[index].append(try machine.admit(environments[index]).variable)
      } catch {
        let wanted = description.environments[index]
        throw Failure(.usage, "\(path):\(wanted.line): \(wanted.name): \(error)")
      }
    }
    return variables
  }

  private func start(_ variables: [[String]], _ interrupts: Interrupts) throws(Failure) {
    let writer = ends.writer
    for (index, environment) in environments.enumerated() {
      environment.onEnd { _ in OutputPipe.send(UInt32(index), to: writer) }
    }
    for (index, wanted) in description.environments.enumerated() {
      do throws(LaunchError) {
        try environments[index].start(
          arguments: [wanted.guest] + wanted.arguments, variables: variables[index])
      } catch {
        // Ended by a signal before it began: it is told of like the others.
        if interrupts.signal != nil { continue }
        throw Failure(.usage, "\(path):\(wanted.line): \(wanted.name): \(error)")
      }
    }
  }

  private func end(_ index: Int, _ interrupts: Interrupts) {
    finish(outputs[index])
    let name = description.environments[index].name
    let environment = environments[index]
    let outcome = environment.waitForOutcome()
    var record = RunRecord(arguments: [name])
    record.end(environment, outcome, signal: interrupts.signal)
    statuses[index] = record.status
    // Those that were ended because nobody reads their output are not told of.
    if outputError == 0 || record.ending != "killed" { record.explain() }
    if record.account == nil, record.status.code != 0, interrupts.signal == nil, outputError == 0 {
      StandardStreams.complain("\(name): \(outcome.summary)")
    }
  }

  // --- output

  private func move(_ output: Output) { show(output.lines.add(output.pipe.read())) }

  /// All that is left, and a last line that was not ended.
  private func finish(_ output: Output) {
    while true {
      let bytes = output.pipe.read()
      if bytes.isEmpty { break }
      show(output.lines.add(bytes))
    }
    show(output.lines.finish())
  }

  /// Writes, unless that failed before: then there is no use in running on.
  private func show(_ bytes: [UInt8]) {
    guard outputError == 0, !bytes.isEmpty else { return }
    outputError = StandardStreams.write(bytes, to: STDOUT_FILENO)
    guard outputError != 0 else { return }
    if outputError != EPIPE { StandardStreams.complain("standard output: \(errorText(outputError))") }
    for environment in environments { environment.kill() }
  }
}
