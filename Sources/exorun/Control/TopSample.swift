import Exo
import Glibc
import JSONText

/// What a machine did between two looks at it.
struct TopSample {
  private let after: ObservedMachine
  /// Nanoseconds between the looks.
  private let interval: UInt64
  private let rows: [Row]

  private struct Row {
    let environment: ObservedEnvironment
    /// Of one processor, from 0 to 1.
    let share: Double
    let exocallRate: Double
  }

  init(_ before: ObservedMachine, _ after: ObservedMachine) {
    self.after = after
    let interval = after.age > before.age ? after.age - before.age : 0
    self.interval = interval
    let old = Dictionary(before.environments.map { ($0.number, $0) }) { first, _ in first }
    rows = after.environments.map { environment in
      func grown(_ member: String) -> Double {
        let (then, now) = (old[environment.number]?.count(member) ?? 0, environment.count(member))
        return now > then ? Double(now - then) : 0
      }
      let time = Double(max(interval, 1))
      return Row(
        environment: environment, share: interval == 0 ? 0 : min(1, grown("processorTime") / time),
        exocallRate: interval == 0 ? 0 : grown("exocalls") / time * 1e9)
    }.sorted { ($1.share, $0.environment.number) < ($0.share, $1.environment.number) }
  }

  // --- for people

  private var headline: String {
    let busy = rows.reduce(0) { $0 + $1.share }
    let total = after.json.count("framesTotal")
    return "machine \(after.name), up \(seconds(after.age)): \(after.environments.count) environments, "
      + "\(percent(busy)) of \(after.json.count("processors")) processors, "
      + "\(after.json.count("framesFree")) of \(total) frames free"
  }

  private func tableLines(_ style: TextStyle, width: Int = .max, count: Int = .max) -> [String] {
    var table = TextTable(
      [
        "ENV", "NAME", "STATE", "CPU", "SLICES", "SLOTS", "EXCESS", "FRAMES", "FAULTS", "EXOCALLS", "/S",
        "EVENTS",
        "REVOKED",
      ], right: [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    for row in rows.prefix(count) {
      let e = row.environment
      table.add([
        "\(e.number)", e.name.count > 24 ? e.name.prefix(23) + "…" : e.name, e.state, percent(row.share),
        "\(e.count("slices"))", "\(e.count("slots"))", seconds(e.count("excess")), "\(e.count("frames"))",
        "\(e.count("faults"))", "\(e.count("exocalls"))", "\(Int(row.exocallRate))", "\(e.count("events"))",
        "\(e.count("revocations"))",
      ])
    }
    return table.lines(style, width: width)
  }

  /// Printed once.
  var table: [String] { [headline] + tableLines(TextStyle.of(STDOUT_FILENO)) }

  /// For a terminal of a size.
  func screen(_ size: (rows: Int, columns: Int)) -> [String] {
    let style = TextStyle.of(STDOUT_FILENO)
    let lines =
      [String(headline.prefix(size.columns)), ""]
      + tableLines(style, width: size.columns, count: max(0, size.rows - 5))
    return Array((lines + ["", style.faint(String("q ends".prefix(size.columns)))]).prefix(size.rows))
  }

  // --- for programs

  /// As the socket tells it, with the interval's figures added.
  var json: JSON {
    let environments = rows.map { row -> JSON in
      guard case .object(let members) = row.environment.json else { return row.environment.json }
      return .object(
        members + [
          JSON.Member("share", .number(row.share)),
          JSON.Member("exocallsPerSecond", .number(row.exocallRate)),
        ])
    }
    guard case .object(let members) = after.json else { return after.json }
    return .object(
      [JSON.Member("machine", .string(after.name)), JSON.Member("interval", .integer(interval))]
        + members.filter { !["exo", "environments"].contains($0.name) }
        + [JSON.Member("environments", .array(environments))])
  }
}

/// A share as people read it.
private func percent(_ share: Double) -> String {
  let tenths = Int((share * 1000).rounded())
  return "\(tenths / 10).\(tenths % 10)%"
}
