import ArgumentParser
import Exo
import Glibc
import JSONText

/// `exorun doctor`: can guests run here, by which mechanisms, and what to do where something is amiss.
struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say whether guests can run here, and by which mechanisms.",
    discussion: """
      Every line is ok, degraded (guests run, something is slower or less) or missing, with what to do. What is said \
      of the substrate was measured just now. Exits 0 if guests can run, else 1.
      """)

  @OptionGroup var machine: MachineOptions

  @Flag(help: "As JSON.")
  var json = false

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
    if !findings.contains(where: \.isFatal) {
      do throws(MachineError) { try MachineFindings(configuration).each(report) } catch {
        report(Finding("guests", .missing, "no machine can be made: \(error)", isRequired: true))
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
}
