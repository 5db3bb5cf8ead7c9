import JSONText

// The file form, schema 1; docs/bench.md describes it. Members may be added without a new schema; none changes its meaning.

/// Why a file of results cannot be used.
public enum ReportError: Error, Equatable, CustomStringConvertible {
  case notJSON(JSONError)
  case wrongSchema(Double?)
  case incomplete(row: Int)

  public var description: String {
    switch self {
    case .notJSON(let error): "not JSON: \(error)"
    case .wrongSchema(let found):
      "not a benchmark result of schema \(BenchReport.schema)" + (found.map { " but \($0)" } ?? "")
    case .incomplete(let row): "row \(row) lacks its identifier or a figure"
    }
  }
}

extension BenchReport {
  public var json: JSON {
    .object([
      .init("schema", .number(Double(Self.schema))),
      .init("machine", .object(machine.map { .init($0.name, .string($0.value)) })),
      .init("rows", .array(rows.map(\.json))),
    ])
  }

  /// Reads a result file. Rows this version does not know are left out.
  public init(parsing text: String) throws(ReportError) {
    let json: JSON
    do throws(JSONError) { json = try JSON(parsing: text) } catch { throw .notJSON(error) }
    guard let schema = json["schema"]?.number, schema == Double(Self.schema), let rows = json["rows"]?.array
    else { throw .wrongSchema(json["schema"]?.number) }
    var facts: [Fact] = []
    if case .object(let members)? = json["machine"] {
      facts = members.map { Fact($0.name, $0.value.string ?? "") }
    }
    var results: [RowResult] = []
    for (index, value) in rows.enumerated() {
      guard let id = value["id"]?.string else { throw .incomplete(row: index) }
      guard let row = BenchRow.named(id) else { continue }
      var result = RowResult(row: row, note: value["note"]?.string ?? "")
      for name in ContestantName.allCases {
        guard let figures = value[name.rawValue], figures != .null else { continue }
        guard let summary = Summary(figures) else { throw .incomplete(row: index) }
        result[name] = summary
      }
      if let series = value["series"], series != .null {
        guard let series = Series(series) else { throw .incomplete(row: index) }
        result.series = series
      }
      results.append(result)
    }
    self.init(machine: facts, rows: results)
  }
}

extension RowResult {
  var json: JSON {
    .object([
      .init("id", .string(row.id)),
      .init("group", .string(row.group.rawValue)),
      .init("unit", .string(row.unit.rawValue)),
      .init("operation", .string(row.operation)),
      .init("placement", .optional(row.placement)),
      .init("paper", row.paper?.json ?? .null),
      .init("exo", exo?.json ?? .null),
      .init("linux", linux?.json ?? .null),
      .init("floor", floor?.json ?? .null),
      .init("linux_over_exo", .optional(linuxOverExo)),
      .init("exo_over_floor", .optional(exoOverFloor)),
      .init("note", .string(note)),
      .init("series", series?.json ?? .null),
    ])
  }
}

extension Series {
  var json: JSON {
    .object([
      .init("x", .string(x)), .init("y", .string(y)),
      .init(
        "lines",
        .array(
          lines.map { line in
            .object([
              .init("name", .string(line.name)),
              .init("points", .array(line.points.map { .array([.rounded($0.x), .rounded($0.y)]) })),
            ])
          })),
    ])
  }
  init?(_ json: JSON) {
    guard let x = json["x"]?.string, let y = json["y"]?.string, let lines = json["lines"]?.array else {
      return nil
    }
    var read: [Line] = []
    for line in lines {
      guard let name = line["name"]?.string, let points = line["points"]?.array else { return nil }
      var pairs: [Point] = []
      for point in points {
        guard let pair = point.array, pair.count == 2, let x = pair[0].number, let y = pair[1].number else {
          return nil
        }
        pairs.append(Point(x: x, y: y))
      }
      read.append(Line(name: name, points: pairs))
    }
    self.init(x: x, y: y, lines: read)
  }
}

extension PaperFigures {
  var json: JSON {
    .object([
      .init("table", .optional(table.map(Double.init))),
      .init("ultrix", .optional(ultrix)),
      .init("exo", .optional(exo)),
      .init("unit", .string("us")),
      .init("hardware", .string("DECstation, 1995")),
      .init("note", .optional(note)),
    ])
  }
}

extension Summary {
  var json: JSON {
    .object([
      .init("min", .rounded(minimum)), .init("median", .rounded(median)),
      .init("p95", .rounded(percentile95)),
      .init("n", .number(Double(count))),
      .init("samples", .array(samples.map(JSON.rounded))),
    ])
  }
  init?(_ json: JSON) {
    guard let minimum = json["min"]?.number, let median = json["median"]?.number,
      let percentile95 = json["p95"]?.number, let count = json["n"]?.number.flatMap(Int.init(exactly:))
    else { return nil }
    let samples = (json["samples"]?.array ?? []).compactMap(\.number)
    self.init(minimum: minimum, median: median, percentile95: percentile95, count: count, samples: samples)
  }
}

extension JSON {
  fileprivate static func optional(_ value: Double?) -> JSON { value.map(rounded) ?? .null }
  fileprivate static func optional(_ value: String?) -> JSON { value.map(JSON.string) ?? .null }
  /// To a thousandth: more digits than any clock gives.
  fileprivate static func rounded(_ value: Double) -> JSON { .number((value * 1000).rounded() / 1000) }
}
