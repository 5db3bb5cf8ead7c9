/// Rows that are one operation among ever more: `exocall_at_1`, `exocall_at_10`, ... and `demux_1`, `demux_10`, ...
enum CostCurves {
  static func of(_ rows: [RowResult]) -> [CurvePlot] {
    var families: [(name: String, rows: [(count: Double, result: RowResult)])] = []
    for result in rows {
      guard let cut = result.row.id.lastIndex(of: "_"),
        let count = Double(result.row.id[result.row.id.index(after: cut)...])
      else { continue }
      let name = String(result.row.id[..<cut])
      if let index = families.firstIndex(where: { $0.name == name }) {
        families[index].rows.append((count, result))
      } else {
        families.append((name, [(count, result)]))
      }
    }
    return families.filter { $0.rows.count > 2 }.map { family in
      CurvePlot(
        title: "\(family.name): the cost against how many there are",
        xName: family.name.hasSuffix("_at") ? "environments or processes" : "filters", yName: "time of one",
        isLogarithmic: true, text: { markText($0, .nanoseconds) },
        curves: ContestantName.allCases.compactMap { name in
          let points = family.rows.compactMap { row in
            row.result[name].map { Series.Point(x: row.count, y: $0.median) }
          }
          guard !points.isEmpty else { return nil }
          return CurvePlot.Curve(name: name.rawValue, style: name.rawValue, points: points)
        })
    }
  }
}

extension CurvePlot {
  /// A row's series, drawn.
  init(_ row: BenchRow, _ series: Series) {
    let styles = ["exo", "linux", "fifth", "fourth", "sixth", "floor"]
    self.init(
      title: "\(row.id): \(series.y) over \(series.x)", xName: series.x, yName: series.y,
      isLogarithmic: false,
      text: { markText($0) },
      curves: series.lines.enumerated().map { index, line in
        Curve(name: line.name, style: styles[index % styles.count], points: line.points)
      })
  }
}
