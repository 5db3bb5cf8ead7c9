/// Bars on a logarithmic scale: for each row what each contestant's median is, with a whisker from the least to the 95th
/// percentile. All rows are of one unit.
struct BarPlot {
  let title: String
  let unit: BenchUnit
  let rows: [RowResult]

  private static let left = 190.0
  private static let width = 860.0
  private static let barHeight = 9.0
  private static let rowHeight = 3 * 11.0 + 10

  func svg() -> String {
    let right = Self.width - 90
    let values = rows.flatMap { row in
      ContestantName.allCases.flatMap { name in
        row[name].map { [$0.minimum, $0.median, $0.percentile95] } ?? []
      }
    }
    // The shortest bar is to be seen too.
    let smallest = values.filter { $0 > 0 }.min() ?? 1
    let axis = Axis.logarithmic(values + [smallest * 0.8], from: Self.left, to: right)
    let bottom = 8 + Double(rows.count) * Self.rowHeight
    var body = ""
    for mark in axis.marks({ markText($0, unit) }) {
      let x = axis.position(mark.value)
      body += svgLine(x, 4, x, bottom, style: "grid")
      body += svgText(mark.label, x: x, y: bottom + 14, .middle, style: "tick")
    }
    for (index, row) in rows.enumerated() {
      body += bars(of: row, top: 8 + Double(index) * Self.rowHeight, axis)
    }
    return drawing(width: Self.width, height: bottom + 20, label: title, body)
  }

  private func bars(of row: RowResult, top: Double, _ axis: Axis) -> String {
    var body = "<g data-row=\"\(escaped(row.row.id))\"><title>\(escaped(row.row.operation))</title>\n"
    body += svgText(row.row.id, x: Self.left - 8, y: top + 21, .end)
    for (place_, name) in ContestantName.allCases.enumerated() {
      guard let summary = row[name] else { continue }
      let y = top + 3 + Double(place_) * 11
      let end = axis.position(summary.median)
      body +=
        "<rect x=\"\(place(axis.from))\" y=\"\(place(y))\" width=\"\(place(max(1, end - axis.from)))\" "
        + "height=\"\(place(Self.barHeight))\" class=\"\(name.rawValue)\"/>\n"
      let middle = y + Self.barHeight / 2
      let whisker = axis.position(summary.percentile95)
      body += svgLine(axis.position(summary.minimum), middle, whisker, middle, style: "whisker")
      body += svgText(
        "\(name.rawValue) \(figure(summary.median, unit))", x: max(end, whisker) + 5, y: y + 8, style: "value"
      )
    }
    return body + "</g>\n"
  }
}
