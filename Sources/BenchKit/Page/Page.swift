extension BenchReport {
  /// The report as one HTML page that needs nothing else: tables, and drawings within it.
  public func html() -> String {
    let groups = BenchGroup.allCases.filter { group in rows.contains { $0.row.group == group } }
    return """
      <!doctype html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>exorun bench</title>
      <link rel="icon" href="data:,">
      <style>
      \(pageStyle)
      </style>
      </head>
      <body>
      <header>
      <h1>exorun bench</h1>
      <p>Each row is measured for up to three contestants, which take turns sample by sample in one run:
      <span class="key"><i style="background: var(--exo)"></i><b>exo</b>, a guest on the exokernel;
      <i style="background: var(--linux)"></i><b>linux</b>, the best ordinary way to do the same on this machine;
      <i style="background: var(--floor)"></i><b>floor</b>, the bare mechanism in a virtual machine of its own.</span>
      Figures are medians; spread is from the least to the 95th percentile, relative to the median. <b>1995</b>: what the
      paper measured (Engler, Kaashoek and O'Toole, SOSP 1995) in microseconds on a 25 MHz DECstation, for the shape of the
      result and not its size.</p>
      <dl>
      \(machine.map { "<dt>\(escaped($0.name))</dt><dd>\(escaped($0.value))</dd>\n" }.joined())</dl>
      <nav><p>\(groups.map { "<a href=\"#group-\($0.rawValue)\">\($0.rawValue)</a>" }.joined(separator: "\n"))</p></nav>
      </header>
      <main>
      \(groups.map { section($0, rows.filter { [group = $0] in $0.row.group == group }) }.joined())</main>
      </body>
      </html>

      """
  }

  private func section(_ group: BenchGroup, _ rows: [RowResult]) -> String {
    """
    <section id="group-\(group.rawValue)">
    <h2>\(group.rawValue)</h2>
    \(table(rows))\(plots(group, rows))<h3>How each is done</h3>
    <ul class="notes">
    \(rows.map { "<li><b>\($0.row.id)</b>: \(escaped($0.note))</li>\n" }.joined())</ul>
    </section>

    """
  }

  private func table(_ rows: [RowResult]) -> String {
    let heads = ["row", "operation", "exo", "spread", "linux", "floor", "linux/exo", "exo/floor"]
    let old = ["1995: Ultrix", "Aegis", "table"]
    return """
      <div class="scroll"><table>
      <thead><tr>\(heads.map { "<th>\($0)</th>" }.joined())\(old.map { "<th class=\"old\">\($0)</th>" }.joined())</tr></thead>
      <tbody>
      \(rows.map(line).joined())</tbody>
      </table></div>

      """
  }

  private func line(_ result: RowResult) -> String {
    let cells = result.cells
    let isLoss = (result.linuxOverExo ?? 1) < 1
    let paper = result.row.paper
    let old = [cells[7], cells[8], paper.map { $0.table.map(String.init) ?? "-" } ?? ""]
    return
      "<tr id=\"row-\(result.row.id)\"><td>\(result.row.id)</td><td>\(escaped(result.row.operation))</td>"
      + cells[1...4].map { "<td>\($0)</td>" }.joined()
      + "<td\(isLoss ? " class=\"loss\"" : "")>\(cells[5])</td><td>\(cells[6])</td>"
      + old.map { "<td class=\"old\"\(paper?.note.map { " title=\"\(escaped($0))\"" } ?? "")>\($0)</td>" }
      .joined()
      + "</tr>\n"
  }

  private func plots(_ group: BenchGroup, _ rows: [RowResult]) -> String {
    var text = ""
    let measured = rows.filter { row in ContestantName.allCases.contains { row[$0] != nil } }
    for unit in BenchUnit.allCases {
      let same = measured.filter { $0.row.unit == unit }
      guard !same.isEmpty else { continue }
      let title = "Medians of \(group.rawValue) on a logarithmic scale"
      text += Self.figure(
        "\(title); whiskers from the least to the 95th percentile.",
        BarPlot(title: title, unit: unit, rows: same).svg())
    }
    let curves = CostCurves.of(measured)
    if !curves.isEmpty {
      text += "<div class=\"pair\">\n"
      for curve in curves { text += Self.figure(curve.title, curve.svg()) }
      text += "</div>\n"
    }
    for row in measured {
      guard let series = row.series else { continue }
      text += Self.figure("\(row.row.id): \(series.y) over \(series.x).", CurvePlot(row.row, series).svg())
    }
    if !measured.isEmpty {
      text += Self.figure(
        "Every sample, relative to the median of its series; those beyond the ends are drawn there.",
        DistributionPlot(title: "Distributions of \(group.rawValue)", rows: measured).svg())
    }
    return text
  }

  private static func figure(_ caption: String, _ drawing: String) -> String {
    "<figure>\n\(drawing)<figcaption>\(escaped(caption))</figcaption>\n</figure>\n"
  }
}
