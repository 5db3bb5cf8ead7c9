/// How the samples of each row and contestant lie: a dot for each, relative to the median of its own series.
struct DistributionPlot {
  let title: String
  let rows: [RowResult]

  private static let left = 190.0
  private static let width = 860.0
  private static let lineHeight = 10.0

  func svg() -> String {
    var body = ""
    let axis = Axis(isLogarithmic: true, range: 0.5...2, from: Self.left, to: Self.width - 70)
    let lines = rows.map { row in ContestantName.allCases.filter { row[$0] != nil } }
    let bottom = 8 + Double(lines.reduce(0) { $0 + $1.count }) * Self.lineHeight + Double(rows.count) * 6
    for (value, label) in [(0.5, "half"), (0.8, "0.8"), (1, "median"), (1.25, "1.25"), (2, "twice")] {
      let x = axis.position(value)
      body += svgLine(x, 4, x, bottom, style: "grid")
      body += svgText(label, x: x, y: bottom + 14, .middle, style: "tick")
    }
    var y = 8.0
    for (row, names) in zip(rows, lines) where !names.isEmpty {
      body += svgText(
        row.row.id, x: Self.left - 8, y: y + Double(names.count) * Self.lineHeight / 2 + 4, .end)
      for name in names {
        if let summary = row[name], summary.median > 0 {
          body += line(summary, name, y: y + Self.lineHeight / 2, axis)
        }
        y += Self.lineHeight
      }
      y += 6
    }
    return drawing(width: Self.width, height: bottom + 20, label: title, body)
  }

  private func line(_ summary: Summary, _ name: ContestantName, y: Double, _ axis: Axis) -> String {
    func x(_ value: Double) -> Double { axis.position(value / summary.median) }
    var body = svgLine(
      x(summary.minimum), y, x(summary.percentile95), y, style: "range \(name.rawValue)-line")
    for sample in summary.samples {
      body +=
        "<circle cx=\"\(place(x(sample)))\" cy=\"\(place(y))\" r=\"2.2\" class=\"\(name.rawValue) dot\"/>\n"
    }
    body += svgText(name.rawValue, x: Self.width - 62, y: y + 3.5, style: "value")
    return body
  }
}
