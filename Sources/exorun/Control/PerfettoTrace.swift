import Exo
import JSONText

/// The Trace Event Format of Chrome's tracing, which Perfetto opens too ("Trace Event Format", Google, 2016, JSON object form):
/// a track for each thread of the machine. Slices are begin and end events, always in pairs: one whose other end was not
/// recorded gets one at the trace's edge. Stays and calls are complete events within them, all else instants.
struct PerfettoTrace: TraceTextWriter {
  private let machine: String
  private var names = TraceNames()
  private var isFirst = true
  /// Nanoseconds of the first and last thing known.
  private var began: UInt64 = 0
  private var latest: UInt64 = 0
  /// Who had each lane when the trace began, until a record of the lane says so better.
  private var atFirst: [UInt64: JSON] = [:]
  private var seen: Set<UInt64> = []
  /// Whose slice is open on each lane.
  private var open: [UInt64: UInt64] = [:]

  init(machine: String) { self.machine = machine }

  mutating func beginning(_ header: JSON) -> String {
    names.begin(header)
    began = header.count("t")
    latest = began
    for holder in header["running"]?.array ?? [] { atFirst[holder.count("lane")] = holder }
    var text = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":["
    text += meta("process_name", lane: nil, "exo machine \(machine)")
    for (lane, name) in names.allLanes.enumerated() { text += meta("thread_name", lane: lane, name) }
    return text
  }

  mutating func text(of line: ArraySlice<UInt8>) throws(Failure) -> String {
    let record = try ControlConnection.parse(line, from: machine)
    if record["lost"] != nil {
      return event("i", "\(record.count("lost")) records lost", 0, latest, [("s", .string("g"))])
    }
    latest = max(latest, record.count("t") + record.count("duration"))
    if record["end"] != nil { return "" }
    names.add(record)
    let (lane, time) = (record.count("lane"), record.count("t"))
    switch record["event"]?.string {
    case "slice": return slice(record, lane, time)
    case "guest", "exocall":
      let name = record["call"]?.string ?? "guest mode"
      // One that was under way lies within the slice that was.
      let start = max(time, began + 1)
      let length = max(time + record.count("duration"), start) - start
      return event(
        "X", name, lane, start,
        [("dur", microseconds(length)), ("cat", record["event"] ?? .null), arguments(record)])
    default:
      return event(
        "i", TraceText.words(record), lane, time,
        [("s", .string("t")), ("cat", record["event"] ?? .null), arguments(record)])
    }
  }

  private mutating func slice(_ record: JSON, _ lane: UInt64, _ time: UInt64) -> String {
    let isNew = seen.insert(lane).inserted
    let environment = record.count("environment")
    var text = ""
    if record["what"]?.string == "begin" {
      // The end was lost.
      if open[lane] != nil { text += close(lane, time, []) }
      open[lane] = environment
      return text
        + event("B", names.environment(record), lane, time, [("cat", .string("slice")), arguments(record)])
    }
    // It began before the trace did.
    if isNew {
      text += event("B", names.environment(record), lane, min(began, time), [("cat", .string("slice"))])
    }
    guard isNew || open[lane] == environment else { return "" }
    return text + close(lane, time, [arguments(record)])
  }

  private mutating func close(_ lane: UInt64, _ time: UInt64, _ more: [(name: String, value: JSON)]) -> String
  {
    open[lane] = nil
    return event("E", nil, lane, time, more)
  }

  mutating func ending() -> String {
    guard !isFirst else { return "" }
    var text = ""
    for (lane, holder) in atFirst.sorted(by: { $0.key < $1.key }) where !seen.contains(lane) {
      text += event("B", names.environment(holder), lane, began, [("cat", .string("slice"))])
      open[lane] = holder.count("environment")
    }
    for lane in open.keys.sorted() { text += close(lane, latest, []) }
    return text + "\n]}\n"
  }

  // --- the file's parts

  private func arguments(_ record: JSON) -> (name: String, value: JSON) {
    guard case .object(let members) = record else { return ("args", .null) }
    var kept = members.filter { !["t", "event", "lane", "duration", "environment"].contains($0.name) }
    kept.insert(JSON.Member("environment", .string(names.environment(record))), at: 0)
    return ("args", .object(kept))
  }

  private mutating func meta(_ what: String, lane: Int?, _ name: String) -> String {
    var members: [(name: String, value: JSON)] = [
      ("ph", .string("M")), ("name", .string(what)), ("pid", .number(1)),
    ]
    if let lane { members.append(("tid", .integer(lane))) }
    return entry(members + [("args", .members([("name", .string(name))]))])
  }

  private mutating func event(
    _ phase: String, _ name: String?, _ lane: UInt64, _ time: UInt64, _ more: [(name: String, value: JSON)]
  ) -> String {
    var members: [(name: String, value: JSON)] = [("ph", .string(phase))]
    if let name { members.append(("name", .string(name))) }
    return entry(members + [("pid", .number(1)), ("tid", .integer(lane)), ("ts", microseconds(time))] + more)
  }

  private mutating func entry(_ members: [(name: String, value: JSON)]) -> String {
    defer { isFirst = false }
    return (isFirst ? "\n" : ",\n") + JSON.members(members).line
  }
  private func microseconds(_ nanoseconds: UInt64) -> JSON { .number(Double(nanoseconds) / 1000) }
}
