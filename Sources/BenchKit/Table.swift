/// Lines of cells in aligned columns: the first to the left, the others to the right.
struct Table {
  var lines: [[String]]

  func text() -> [String] {
    let columns = lines.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      lines.filter { $0.count > 1 }.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    return lines.map { cells in
      cells.enumerated().map { column, cell in
        let space = String(repeating: " ", count: max(0, widths[column] - cell.count))
        return column == 0 ? (cells.count == 1 ? cell : cell + space) : space + cell
      }.joined(separator: "  ")
    }
  }
}

extension BenchReport {
  /// The report as text, for a terminal or a file.
  /// - Parameter color: whether group names and losses may be set apart by escape sequences.
  public func text(color: Bool) -> String {
    let bold = color ? "\u{1b}[1m" : ""
    let plain = color ? "\u{1b}[0m" : ""
    let heading = ["", "exo", "spread", "linux", "floor", "linux/exo", "exo/floor", "Ultrix", "Aegis"]
    var table = Table(lines: [heading])
    var group: BenchGroup?
    let measured = rows.filter { result in ContestantName.allCases.contains { result[$0] != nil } }
    for result in measured {
      if result.row.group != group {
        group = result.row.group
        table.lines.append([result.row.group.rawValue])
      }
      table.lines.append(result.cells)
    }
    var lines = table.text()
    for index in lines.indices where table.lines[index].count == 1 {
      lines[index] = bold + lines[index] + plain
    }
    lines[0] = bold + lines[0] + plain
    let notes = rows.filter { !$0.note.isEmpty }.map { "\($0.row.id): \($0.note)" }
    return
      (["Medians. Ultrix and Aegis: microseconds on a 25 MHz DECstation, as published in 1995."] + lines
      + [""] + notes).joined(separator: "\n")
  }
}

extension RowResult {
  var cells: [String] {
    func median(_ summary: Summary?) -> String { summary.map { figure($0.median, row.unit) } ?? "-" }
    let spread = exo.flatMap { $0.median > 0 ? digits($0.spread / $0.median * 100) + " %" : nil } ?? "-"
    return [
      "  " + row.id, median(exo), spread, median(linux), median(floor), ratio(linuxOverExo),
      ratio(exoOverFloor),
      row.paper?.ultrix.map(digits) ?? "", row.paper?.exo.map(digits) ?? "",
    ]
  }
}

extension Movement {
  /// One line: what moved, from where to where.
  public var text: String {
    let percent = digits(change * 100)
    return "\(row.id) (\(contestant.rawValue)): \(figure(before, row.unit)) -> \(figure(after, row.unit)), "
      + "\(change > 0 ? "+" : "")\(percent) %\(isRegression ? ", a regression" : "")"
  }
}
