import Exo
import Glibc
import JSONText

/// Names of a trace's threads and environments.
struct TraceNames {
  private var lanes: [String] = []
  private var environments: [UInt64: String] = [:]

  mutating func begin(_ header: JSON) {
    lanes = (header["lanes"]?.array ?? []).map { $0.string ?? "?" }
    for environment in header["environments"]?.array ?? [] { note(ObservedEnvironment(environment)) }
  }
  /// Takes up the name of one that is being made.
  mutating func add(_ record: JSON) {
    if record["name"] != nil { note(ObservedEnvironment(record)) }
  }
  private mutating func note(_ environment: ObservedEnvironment) {
    environments[environment.number] = environment.name
  }

  func lane(_ record: JSON) -> String {
    let lane = Int(clamping: record.count("lane"))
    return lane < lanes.count ? lanes[lane] : "thread \(lane)"
  }
  var allLanes: [String] { lanes }
  func environment(_ record: JSON) -> String {
    let number = record.count("environment")
    return environments[number].map { "\($0) (\(number))" } ?? "environment \(number)"
  }
}

/// One line each, for people.
struct TraceText: TraceTextWriter {
  private var names = TraceNames()

  mutating func beginning(_ header: JSON) -> String {
    names.begin(header)
    return ""
  }

  mutating func text(of line: ArraySlice<UInt8>) throws(Failure) -> String {
    let record = try ControlConnection.parse(line, from: "")
    if record["lost"] != nil { return "\(record.count("lost")) records were lost\n" }
    if record["end"] != nil { return "\(time(record))  the machine has ended\n" }
    names.add(record)
    return "\(time(record))  \(names.lane(record).padded(to: 13))  "
      + "\(names.environment(record).padded(to: 18))  \(Self.words(record))\n"
  }

  func ending() -> String { "" }

  private func time(_ record: JSON) -> String {
    let t = record.count("t")
    let fraction = String(t / 1000 % 1_000_000).leftPadded(to: 6, with: "0")
    return "\(t / 1_000_000_000).\(fraction)".leftPadded(to: 13)
  }

  /// What happened, in words.
  static func words(_ record: JSON) -> String {
    func text(_ member: String) -> String { record[member]?.string ?? "?" }
    func span(_ member: String) -> String { Duration.nanoseconds(Int64(clamping: record.count(member))).text }
    switch text("event") {
    case "environment":
      switch text("what") {
      case "created": return record["creator"].map { _ in "made by \(record.count("creator"))" } ?? "made"
      case "ended": return "ended: \(text("how")), status \(record.count("status"))"
      default: return text("what")
      }
    case "slice":
      if text("what") == "begin" { return "slice begins, \(span("length")) if others wait" }
      let excess = record.count("excess") > 0 ? ", \(span("excess")) too long" : ""
      return "slice ends: \(text("why"))\(excess)"
    case "guest": return "in guest mode for \(span("duration")): \(text("exit"))"
    case "exocall":
      guard let result = record["result"]?.number else { return "\(text("call")): to be answered later" }
      return "\(text("call")) = \(Int64(result)) in \(span("duration"))"
    case "event": return "event \(text("kind")), data \(record.count("data")), value \(text("value"))"
    case "fault": return "fault \(text("vector")) at \(text("address"))"
    case "gate":
      switch text("what") {
      case "made": return "gate \(record.count("gate")) made"
      case "connected":
        return
          "connection \(record.count("number")) to \(record.count("peer"))'s gate \(record.count("gate"))"
      case "closed": return "connection \(record.count("number")) closed"
      case "called": return "is in \(record.count("peer")), by a call"
      case "answered": return "is back from \(record.count("peer"))"
      default: return "call given up: \(text("why"))"
      }
    case "revocation":
      switch text("what") {
      case "asked":
        let asker = record["by"].map { _ in " by \(record.count("by"))" } ?? ""
        return "asked for \(text("kind"))\(asker), \(record.count("owed")) owed"
      case "aborted": return "out of time: \(record.count("owed")) \(text("kind")) owed"
      case "repossessed":
        return "repossessed: \(text("kind")) \(record.count("first")), \(record.count("count")) of them"
      default:
        return "\(text("kind")): \(record.count("given")) given, \(record.count("taken")) taken"
      }
    default: return record.line
    }
  }
}
