import ArgumentParser
import Exo
import ExoGuests
import Glibc
import JSONText

/// `exorun doctor`: can guests run here, by which mechanisms, and what to do where something is amiss.
struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say whether guests can run here, and by which mechanisms.",
    discussion: """
      Every line is ok, degraded (guests run, something is slower or less) or missing, with what to do. What is said \
      of the substrate was measured just now. Exits 0 if guests can run, else 1.

      With --deep every mechanism that Exo relies on is tried by guests that depend on it, half a minute's work: pass or \
      fail, and what Exo does instead. Send it back, with --json or without, from a kind of machine that is not known yet.
      """)

  @OptionGroup var machine: MachineOptions

  @Flag(help: "As JSON.")
  var json = false

  @Flag(help: "Try every mechanism too.")
  var deep = false

  @Flag(
    help: ArgumentHelp(
      "With --deep: the processor is an emulator's, of which #SS, #AC and #XM are not expected."))
  var emulated = false

  @Option(
    help: ArgumentHelp(
      "With --deep: only the mechanisms whose name begins so; may be repeated.", valueName: "name"))
  var only: [String] = []

  func run() throws {
    let style = TextStyle.of(STDOUT_FILENO)
    var findings: [Finding] = []
    func report(_ finding: Finding) {
      findings.append(finding)
      if !json { StandardStreams.write(finding.text(style) + "\n") }
    }
    report(HostFindings.system)
    let configuration = machine.configuration
    HostFindings.kvm(configuration.device).forEach(report)
    report(HostFindings.processors)
    report(HostFindings.memory)
    report(HostFindings.hugePages)
    report(HostFindings.tun)
    var isNative = false
    if !findings.contains(where: \.isFatal) {
      do throws(MachineError) {
        let machine = try MachineFindings(configuration)
        machine.each(report)
        isNative = machine.isNative
      } catch {
        report(Finding("guests", .missing, "no machine can be made: \(error)", isRequired: true))
      }
    }
    if deep, !findings.contains(where: \.isFatal) {
      for mechanism in Mechanism.all where isWanted(mechanism.name) {
        report(mechanism.finding(configuration, isEmulated: emulated))
      }
      if isWanted(ExitCounts.name) {
        let image = ExoGuests.image("GuestBench").flatMap { try? GuestImage(name: "exits", bytes: $0) }
        report(ExitCounts.finding(configuration, image, isNative: isNative))
      }
    }
    let canRun = !findings.contains(where: \.isFatal)
    if json {
      let whole = JSON.members([("canRun", .bool(canRun)), ("findings", .array(findings.map(\.json)))])
      StandardStreams.write(whole.text() + "\n")
    } else {
      StandardStreams.write(canRun ? "Guests can run here.\n" : "Guests cannot run here.\n")
    }
    if !canRun { throw ExitCode(1) }
  }

  private func isWanted(_ name: String) -> Bool { only.isEmpty || only.contains { name.hasPrefix($0) } }
}
