extension BenchReport {
  /// The report as Markdown: what it ran on, a table for each group, and how each row is done or why it is not.
  public func markdown() -> String {
    var text = machine.map { "- \($0.name): \(Self.cell($0.value))" }.joined(separator: "\n") + "\n"
    for group in BenchGroup.allCases {
      let rows = rows.filter { $0.row.group == group }
      guard !rows.isEmpty else { continue }
      text += """

        ### \(group.rawValue)

        | row | operation | exo | spread | linux | floor | linux/exo | exo/floor | Ultrix | Aegis | table |
        |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|

        """
      for result in rows {
        let cells = result.cells
        let table = result.row.paper.map { $0.table.map(String.init) ?? "-" } ?? ""
        text += "| `\(result.row.id)` | \(Self.cell(result.row.operation)) | "
        text += (cells.dropFirst() + [table]).joined(separator: " | ") + " |\n"
      }
    }
    text += "\n### How each is done, and why a contestant is missing\n\n"
    for result in rows where !result.note.isEmpty {
      text += "- `\(result.row.id)`: \(Self.cell(result.note))\n"
    }
    return text
  }

  /// What may stand in a cell or on a line.
  private static func cell(_ text: String) -> String {
    var result = ""
    for character in text {
      switch character {
      case "|", "<", "*", "_", "`", "\\": result += "\\" + String(character)
      case _ where character.isNewline: result += " "
      default: result.append(character)
      }
    }
    return result
  }
}
