import BenchKit
import Exo
import ExoABI
import ExoSelftest

/// What a machine shows when it is made and run: the substrate, by measurement.
struct MachineFindings {
  private let machine: Machine
  private let configuration: Machine.Configuration
  private static let exitCount: UInt32 = 400
  /// Each cost is the least of so many measurements: what else the host does can only add to it.
  private static let samples = 5

  init(_ configuration: Machine.Configuration) throws(MachineError) {
    self.configuration = configuration
    machine = try Machine(configuration)
  }

  /// Whether ring 0 runs on the processor, once `each` has found out.
  var isNative: Bool { machine.substrate?.kind == .native }

  /// All of them, as they are found.
  func each(_ report: (Finding) -> Void) {
    report(guests)
    if let substrate { report(substrate) }
    report(directGates)
    report(systemCall)
    report(ring)
    report(exit)
    machine.stop()
  }

  private func run(_ name: String, _ code: [UInt8]) -> (outcome: Outcome, usage: Environment.Usage)? {
    guard let image = try? ProbeImage.make(name, code),
      let environment = try? machine.launch(image, arguments: [name], timeLimit: .seconds(5))
    else { return nil }
    return (environment.waitForOutcome(), environment.usage)
  }

  /// A guest with all that belongs to one.
  private var guests: Finding {
    guard let guest = GuestCatalogue.named("hello"), let trial = guest.trials.first else {
      return Finding("guests", .missing, "no guest was built in", isRequired: true)
    }
    let result = guest.run(trial, configuration)
    guard result.hasPassed else {
      return Finding(
        "guests", .missing, "hello \(result.problems.joined(separator: "; "))",
        advice: "`exorun selftest` shows which guests fail", isRequired: true)
    }
    return Finding(
      "guests", .ok, "hello came to its end in \(result.time.text)", isRequired: true,
      figures: [("microseconds", result.time.microseconds)])
  }

  /// Known once a guest has run.
  private var substrate: Finding? {
    _ = run("first", [0x0f, 0x0b])
    guard let substrate = machine.substrate else { return nil }
    let time =
      substrate.ring0Nanoseconds.map { "\(decimal($0)) ns" } ?? "\(decimal(substrate.ring0Cycles)) cycles"
    let words =
      switch substrate.kind {
      case .interpreted: "interpreted: KVM carries ring 0 out in software, \(time) an instruction"
      case .native: "native: ring 0 runs on the processor, \(time) an instruction"
      }
    var figures = [(name: "ring0Cycles", value: substrate.ring0Cycles)]
    if let nanoseconds = substrate.ring0Nanoseconds { figures.append(("ring0Nanoseconds", nanoseconds)) }
    return Finding("substrate", .ok, words, figures: figures)
  }

  /// Exceptions that reach the guest without the exokernel: do they, and what the bare mechanism costs.
  private var directGates: Finding {
    guard let guest = GuestCatalogue.named("faults"), let trial = guest.trials.first else {
      return Finding("direct gates", .missing, "no guest was built in that tries them")
    }
    let result = guest.run(trial, configuration)
    guard result.hasPassed else {
      if guest.run(trial, configuration, isEmulated: true).hasPassed {
        return Finding(
          "direct gates", .degraded,
          "every exception reaches its handler but #SS, #AC and #XM, which an emulated processor leaves out")
      }
      return Finding(
        "direct gates", .missing, result.problems.joined(separator: "; "),
        advice: "guests run, but cannot handle exceptions; `exorun selftest faults` says which")
    }
    return bare("direct gates", row: "exception_bp", iterations: 400) {
      "every exception reaches its handler; a breakpoint and back \($0)"
    }
  }

  private var systemCall: Finding {
    guard let (outcome, _) = run("syscall", ProbeImage.systemCall) else {
      return Finding("SYSCALL", .degraded, "could not be tried")
    }
    let nucleus = exo_nucleus_text..<exo_nucleus_text + UInt64(EXO_PAGE_SIZE)
    switch outcome {
    case .misused(.systemCallInstruction):
      return Finding("SYSCALL", .ok, "enters ring 0 at the nucleus, which ends the environment")
    case .faulted(let report) where nucleus.contains(report.registers.rip) && report.registers.cs & 3 == 3:
      return Finding("SYSCALL", .ok, "leads to ring 3, where it faults until a handler is bound")
    case .faulted(let report) where report.vector == ExceptionVector(6):
      return Finding("SYSCALL", .ok, "is an invalid instruction")
    default: return Finding("SYSCALL", .degraded, "ended with \(outcome.summary)")
    }
  }

  private var ring: Finding {
    bare("exocall ring", row: "exocall", iterations: 10_000) {
      "a polling thread answers in \($0), without an exit"
    }
  }

  private var exit: Finding {
    var best: Duration?
    for _ in 0..<Self.samples {
      guard let (_, usage) = run("exits", ProbeImage.exits(Self.exitCount)), usage.exits > Self.exitCount
      else { break }
      let cost = usage.timeInGuest / Int(usage.exits)
      best = min(best ?? cost, cost)
    }
    guard let cost = best else { return Finding("exits", .degraded, "could not be measured") }
    return Finding(
      "exits", .ok, "leaving the guest and entering it again \(cost.text)",
      figures: [("nanoseconds", Double(cost.nanosecondCount))])
  }

  /// What a mechanism costs in a virtual machine of its own.
  private func bare(
    _ name: String, row: String, iterations: UInt32, _ words: (String) -> String
  ) -> Finding {
    do throws(SampleError) {
      let floor = try FloorContestant()
      guard let row = BenchRow.named(row), var best = try floor.sample(row: row, iterations: iterations)
      else { return Finding(name, .degraded, "not measured") }
      for _ in 1..<Self.samples {
        best = min(best, try floor.sample(row: row, iterations: iterations) ?? best)
      }
      return Finding(
        name, .ok, words(Duration.nanoseconds(Int64(best)).text), figures: [("nanoseconds", best)])
    } catch {
      return Finding(name, .degraded, "not measured: \(error)")
    }
  }
}
