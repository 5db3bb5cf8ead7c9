import ArgumentParser
import Exo
import Glibc
import JSONText

/// `exorun trace`: what happens in a machine, as it happens.
struct TraceEvents: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace",
    abstract: "Record what happens in a running machine.",
    discussion: """
      Records until interrupted, until --for is over or until the machine ends. What is recorded can be \
      restricted to kinds of events and to environments, each named by number or name:

        environment   one was made, was started, has ended
        slice         one got the processor, or gave it up and why
        guest         a stay in guest mode, and what ended it
        exocall       an exocall was served, how long that took and what it gave
        event         an event was posted to one
        fault         an exception that nothing is bound to
        gate          one made a gate, connected to one, lost a connection; its processor
                      was found in another environment by a call, and back; a call came
                      to nothing
        revocation    something was asked back, given, or taken after the deadline

      FORMATS
        text          one line each: time since the machine was made, thread,
                      environment, what happened
        json          one JSON object a line, as the control socket tells it
                      (docs/control.md)
        perfetto      a file that ui.perfetto.dev and chrome://tracing open: a track
                      for each thread of the machine, with slices, the stays and
                      calls in them, and everything else as instants

      With --pcap, packets are recorded instead: those that environments send and those that come from the \
      device, as a pcapng file for tcpdump and Wireshark, with a comment on each that says who sent it, who got it \
      and what became of it.

      Without --format, a FILE.json is of perfetto's form, a FILE.jsonl of json's, anything else is text. \
      A machine that nobody traces spends one untaken branch at each place that could be recorded. Each \
      thread keeps its newest 16,384 records: where more come than can be taken away, the oldest are lost, \
      and how many is said.

      EXAMPLES
        exorun trace --event slice --event fault
        exorun trace --for 2s --output run.json      for Perfetto
        exorun trace --environment cat --format json | jq .call
        exorun trace --pcap - | tcpdump -r - -n

      EXIT STATUS
        0 when --for is over or the machine has ended; 125 if there is no such
        machine or environment, or the file cannot be written; 130 when interrupted:
        what was recorded until then is whole.
      """)

  @OptionGroup var choice: MachineChoice

  @Option(
    name: .customLong("event"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("Record this kind of event only; may be repeated.", valueName: "kind"),
    completion: .list(TraceEvent.Category.allCases.map(\.name)))
  var events: [String] = []

  @Option(
    name: .customLong("environment"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("Record what concerns this environment only; may be repeated.", valueName: "env"))
  var environments: [String] = []

  @Option(help: ArgumentHelp("text, json or perfetto.", valueName: "form"))
  var format: TraceFormat?

  @Option(
    name: .shortAndLong, help: ArgumentHelp("Write to a file instead of standard output.", valueName: "file"))
  var output: String?

  @Option(
    help: ArgumentHelp("Record packets, to a pcapng file; - is standard output.", valueName: "file"))
  var pcap: String?

  @Option(
    name: .customLong("for"), help: ArgumentHelp("End after this long.", valueName: "duration"),
    transform: parseDuration)
  var limit: Duration?

  func validate() throws {
    for event in events where TraceEvent.Category(named: event) == nil {
      let known = TraceEvent.Category.allCases.map(\.name).joined(separator: ", ")
      throw ValidationError("`\(event)` is no kind of event: \(known)")
    }
    if pcap != nil, !events.isEmpty || format != nil || output != nil {
      throw ValidationError("--pcap records packets only: --event, --format and --output say nothing of them")
    }
  }

  func run() throws {
    let connection = try choice.connect()
    let end = try WatchEnd()
    var request: [(name: String, value: JSON)] = [("do", .string(pcap == nil ? "trace" : "capture"))]
    if !events.isEmpty { request.append(("events", .strings(events))) }
    if !environments.isEmpty {
      let machine = try ObservedMachine(from: connection)
      var numbers: [JSON] = []
      for word in environments { numbers.append(.integer(try machine.number(of: word))) }
      request.append(("environments", .array(numbers)))
    }
    let sink = try TraceSink(pcap ?? output)
    var writer: any TraceWriter =
      pcap == nil
      ? (format ?? TraceFormat(of: output)).writer(machine: connection.machine)
      : CaptureFile(machine: connection.machine)
    try connection.send(request)
    let deadline = limit.map { ContinuousClock.now + $0 }
    var hasBegun = false
    while end.signal == nil, !connection.hasEnded {
      let left = deadline.map { ($0 - ContinuousClock.now).nanosecondCount / 1_000_000 + 1 } ?? 1000
      if left <= 0 { break }
      _ = ControlWait.until(
        [connection.descriptor, end.descriptor], milliseconds: Int32(clamping: min(left, 1000)))
      try connection.receive(waiting: 0)
      var bytes: [UInt8] = []
      while let line = connection.nextLine() {
        if !hasBegun {
          let header = try ControlConnection.parse(line, from: connection.machine)
          if let message = header["message"]?.string {
            throw Failure(.usage, "machine \(connection.machine): \(message)")
          }
          hasBegun = true
          bytes += writer.begin(header)
        } else {
          bytes += try writer.add(line)
        }
      }
      try sink.write(bytes)
    }
    try sink.write(writer.end())
    if let signal = end.signal { Glibc.exit(128 + signal) }
  }
}

/// Where a trace goes.
struct TraceSink: ~Copyable {
  private let path: String
  /// Nil for standard output.
  private let file: HostFile?

  init(_ path: String?) throws(Failure) {
    self.path = path ?? "-"
    guard let path, path != "-" else {
      file = nil
      return
    }
    do throws(HostFileError) { file = try HostFile(writing: path) } catch {
      throw Failure(.usage, "\(path): the trace cannot be written: \(error)")
    }
  }

  func write(_ bytes: [UInt8]) throws(Failure) {
    if bytes.isEmpty { return }
    if path == "-" { return StandardStreams.write(bytes) }
    do throws(HostFileError) { try file?.write(bytes) } catch {
      throw Failure(.usage, "\(path): the trace cannot be written: \(error)")
    }
  }
}

enum TraceFormat: String, ExpressibleByArgument, CaseIterable {
  case text, json, perfetto

  /// What a file's name says.
  init(of path: String?) {
    let path = path ?? ""
    self = path.hasSuffix(".json") ? .perfetto : path.hasSuffix(".jsonl") ? .json : .text
  }

  func writer(machine: String) -> any TraceWriter {
    switch self {
    case .text: TraceText()
    case .json: TraceLines()
    case .perfetto: PerfettoTrace(machine: machine)
    }
  }
}

/// Turns the control socket's lines into a file of some form.
protocol TraceWriter {
  mutating func begin(_ header: JSON) -> [UInt8]
  mutating func add(_ line: ArraySlice<UInt8>) throws(Failure) -> [UInt8]
  mutating func end() -> [UInt8]
}

/// One whose file is text.
protocol TraceTextWriter: TraceWriter {
  mutating func beginning(_ header: JSON) -> String
  mutating func text(of line: ArraySlice<UInt8>) throws(Failure) -> String
  mutating func ending() -> String
}
extension TraceTextWriter {
  mutating func begin(_ header: JSON) -> [UInt8] { Array(beginning(header).utf8) }
  mutating func add(_ line: ArraySlice<UInt8>) throws(Failure) -> [UInt8] { Array(try text(of: line).utf8) }
  mutating func end() -> [UInt8] { Array(ending().utf8) }
}

/// The lines as they are.
struct TraceLines: TraceWriter {
  func begin(_ header: JSON) -> [UInt8] { Array((header.line + "\n").utf8) }
  func add(_ line: ArraySlice<UInt8>) -> [UInt8] { line + [0x0a] }
  func end() -> [UInt8] { [] }
}
