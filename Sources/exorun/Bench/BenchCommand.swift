import ArgumentParser
import BenchKit
import Exo
import Glibc

/// `exorun bench`: the exokernel measured as its paper did, with Linux beside it and the floor under it.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure the exokernel, Linux doing the same work, and the bare mechanisms.",
    discussion: """
      Every row is measured for up to three contestants, which take turns sample by sample: exo, a guest on the \
      exokernel; linux, the best ordinary way to do the same here; floor, the mechanism alone in a virtual \
      machine of its own. Ratios compare medians. With --compare, the exit status is 3 if a row of exo has \
      become slower by more than the tolerance and by more than its spread.
      """)

  @Option(help: ArgumentHelp("Measure the rows of this group; may be repeated.", valueName: "group"))
  var group: [String] = []
  @Option(help: ArgumentHelp("Measure this row; may be repeated.", valueName: "row"))
  var row: [String] = []
  @Option(help: ArgumentHelp("Samples of each contestant (20, or 5 with --quick).", valueName: "n"))
  var `repeat`: Int?
  @Option(
    help: ArgumentHelp("Write the results to a file as JSON; - for standard output.", valueName: "file"))
  var json: String?
  @Option(
    help: ArgumentHelp("Write the results as one HTML page with tables and plots.", valueName: "file"))
  var html: String?
  @Option(
    help: ArgumentHelp("Write the results as Markdown tables; - for standard output.", valueName: "file"))
  var markdown: String?
  @Option(
    help: ArgumentHelp("Measure nothing: take the results from a file that --json wrote.", valueName: "file"))
  var from: String?
  @Option(help: ArgumentHelp("Compare with the results in a file.", valueName: "file"))
  var compare: String?
  @Option(help: ArgumentHelp("How much slower a row may have become, in percent.", valueName: "percent"))
  var tolerance: Double = 10
  @Flag(help: "List the rows and do nothing.")
  var list = false
  @Flag(help: "Take fewer and shorter samples.")
  var quick = false
  @Flag(help: "Count instructions instead, where the clock counts them (`Scripts/amdv-count`).")
  var count = false

  /// Most bytes of a result file that are read.
  private static let fileLimit = 16 << 20

  func validate() throws {
    for name in group where BenchGroup(rawValue: name) == nil {
      let names = BenchGroup.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("there is no group `\(name)`; the groups are \(names)")
    }
    for name in row where BenchRow.named(name) == nil {
      throw ValidationError("there is no row `\(name)`; `exorun bench --list` names them")
    }
    if [json, html, markdown].filter({ $0 == "-" }).count > 1 {
      throw ValidationError("only one of --json, --html and --markdown can be standard output")
    }
    if let count = `repeat`, !(1...10_000).contains(count) {
      throw ValidationError("--repeat must be between 1 and 10000")
    }
    if !(tolerance >= 0 && tolerance.isFinite) { throw ValidationError("--tolerance must not be negative") }
  }

  func run() throws {
    if count { return StandardStreams.write(try InstructionCounts(Machine.Configuration()).text()) }
    if list { return printList(BenchRow.all.filter(isWanted)) }
    // Whatever is wrong with the files is said before anything is measured.
    let old = try compare.map(read)
    let earlier = try from.map(read)
    let outputs = try [
      (json, \BenchReport.fileText), (html, \.pageText), (markdown, \.markdownText),
    ].compactMap { path, form in try path.map { (file: try ResultFile($0), form: form) } }
    let report: BenchReport
    if let earlier {
      report = BenchReport(machine: earlier.machine, rows: earlier.rows.filter { isWanted($0.row) })
    } else {
      report = BenchReport(machine: machineFacts(), rows: measure(BenchRow.all.filter(isWanted)))
    }
    for output in outputs { try output.file.write(report[keyPath: output.form]) }
    if !outputs.contains(where: \.file.isStandardOutput) {
      StandardStreams.write(report.text(color: TextStyle.of(STDOUT_FILENO).isColoured) + "\n")
    }
    if let old {
      try tell(
        report.movements(since: old, tolerance: tolerance / 100),
        to: outputs.contains(where: \.file.isStandardOutput) ? STDERR_FILENO : STDOUT_FILENO)
    }
  }

  private func isWanted(_ wanted: BenchRow) -> Bool {
    group.isEmpty && row.isEmpty || group.contains(wanted.group.rawValue) || row.contains(wanted.id)
  }

  private func measure(_ rows: [BenchRow]) -> [RowResult] {
    if let load = systemLoad(), load > 0.5 {
      StandardStreams.complain(
        "other programs are busy here (load \(load)): rows that need two processors will suffer")
    }
    let lineup = Lineup()
    var sampler = Sampler(clock: monotonicSeconds)
    if quick {
      sampler.repeats = 5
      sampler.sampleTime = 0.003
      sampler.rowTime = 0.25
      sampler.leastSamples = 1
    }
    if let count = `repeat` { sampler.repeats = count }
    var progress = ProgressBar(total: rows.count)
    defer { progress.finish() }
    return rows.map { row in
      progress.step(row.id)
      return sampler.measure(row, lineup.contestants, missing: lineup.missing)
    }
  }

  private func read(_ path: String) throws -> BenchReport {
    do {
      let bytes = try HostFile(reading: path).contents(limit: Self.fileLimit)
      return try BenchReport(parsing: String(decoding: bytes, as: UTF8.self))
    } catch HostFileError.directory {
      throw Failure(.usage, "\(path): a directory")
    } catch {
      throw Failure(.usage, "\(path): \(error)")
    }
  }

  private func printList(_ rows: [BenchRow]) {
    let width = rows.map(\.id.count).max() ?? 0
    var group: BenchGroup?
    var text = ""
    for row in rows {
      if row.group != group { text += row.group.rawValue + "\n" }
      group = row.group
      text += "  \(row.id.padded(to: width))  \(row.unit.rawValue.padded(to: 7))  \(row.operation)\n"
    }
    StandardStreams.write(text)
  }

  private func tell(_ movements: [Movement], to stream: Int32) throws {
    let heading =
      movements.isEmpty ? "Nothing moved by more than its spread." : "Moved by more than the spread:"
    let text = ([heading] + movements.map { "  " + $0.text }).joined(separator: "\n") + "\n"
    StandardStreams.write(text, to: stream)
    if movements.contains(where: \.isRegression) { throw ExitCode(3) }
  }
}

extension BenchReport {
  fileprivate var fileText: String { json.text() + "\n" }
  fileprivate var pageText: String { html() }
  fileprivate var markdownText: String { markdown() }
}
