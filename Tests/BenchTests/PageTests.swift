import BenchKit
import Glibc
import TestSupport
import Testing

/// Every row with some figures, a few with a series, and text that HTML would misread.
private func wholeReport() -> BenchReport {
  var random = SystemRandomNumberGenerator()
  let results = BenchRow.all.enumerated().map { index, row in
    func figures() -> Summary? {
      let middle = Double.random(in: 1...1000, using: &random) * (index % 7 == 0 ? 1e5 : 1)
      return Summary(of: (0..<20).map { _ in middle * Double.random(in: 0.7...1.6, using: &random) })
    }
    var result = RowResult(
      row: row, exo: figures(), linux: index % 3 == 0 ? nil : figures(),
      floor: index % 2 == 0 ? nil : figures(),
      note: "a & b < c > d \"e\" 'f'; <script>g</script>")
    if row.id == "stride_error" {
      result.series = Series(
        x: "milliseconds", y: "turns",
        lines: (1...3).map { share in
          Series.Line(
            name: "\(share) tickets",
            points: (0..<200).map { Series.Point(x: Double($0) * 10, y: Double($0 * share) * 1000) })
        })
    }
    return result
  }
  return BenchReport(machine: [.init("kernel", "<6.18>")], rows: results)
}

@Suite struct PageTests {
  @Test func everyRowHasALineAndBars() throws {
    let page = wholeReport().html()
    for row in BenchRow.all {
      #expect(page.contains("<tr id=\"row-\(row.id)\">"), "\(row.id)")
      #expect(page.contains("<g data-row=\"\(row.id)\">"), "\(row.id)")
    }
    for group in BenchGroup.allCases { #expect(page.contains("<section id=\"group-\(group.rawValue)\">")) }
    for family in ["exocall_at", "transfer_at", "demux_at", "create_at", "demux"] {
      #expect(page.contains("\(family): the cost against how many there are"), "\(family)")
    }
    #expect(page.contains("stride_error: turns over milliseconds"))
  }

  @Test func thePageNeedsNothingElse() {
    let page = wholeReport().html()
    for outside in ["http:", "https:", "src=", "url(", "@import", "<script"] {
      #expect(!page.contains(outside), "\(outside)")
    }
    #expect(page.contains("prefers-color-scheme: dark") && page.contains("@media print"))
    #expect(page.contains("&lt;6.18&gt;"))
  }

  @Test func elementsAreClosedInTurn() {
    // Those that HTML never closes.
    let void: Set<Substring> = ["!doctype", "meta", "link"]
    var open: [Substring] = []
    for piece in wholeReport().html().split(separator: "<").dropFirst(0) {
      guard let end = piece.firstIndex(of: ">") else { continue }
      let tag = piece[..<end]
      let name = tag.prefix { $0 != " " && $0 != "/" || $0 == "/" && tag.first == "/" && $0 == tag.first }
      if tag.hasPrefix("/") {
        #expect(open.popLast() == tag.dropFirst(), "\(tag)")
      } else if !tag.hasSuffix("/"), !void.contains(name) {
        open.append(name)
      }
    }
    #expect(open == [])
  }

  /// Figures of a damaged file: none of them is in the way of a page.
  @Test func strangeFiguresHaveAPage() {
    var report = wholeReport()
    for (index, value) in [0, -5, 1e308, 1e-308, .infinity, .nan].enumerated() {
      report.rows[index].exo = Summary(
        minimum: value, median: value, percentile95: -value, count: 1, samples: [value, -value])
      report.rows[index].series = Series(
        x: "x", y: "y",
        lines: [.init(name: "n", points: [.init(x: value, y: -value), .init(x: 1, y: value)])])
    }
    #expect(report.html().contains("</html>"))
    #expect(report.markdown().contains("`procedure_call`"))
  }

  @Test func markdownHasALineForEachRow() {
    let lines = wholeReport().markdown().split(separator: "\n")
    for row in BenchRow.all {
      let line = lines.first { $0.hasPrefix("| `\(row.id)` |") }
      // Eleven cells.
      #expect(line?.filter { $0 == "|" }.count == 12, "\(row.id)")
    }
  }

  /// A real browser: all rows are there, and it complains of nothing.
  @Test(.requires(.program("chromium", package: "chromium")), .timeLimit(.minutes(5)))
  func chromiumShowsThePage() throws {
    let directory = "/tmp/exo-page-\(getpid())"
    mkdir(directory, 0o700)
    defer { _ = try? Command("/bin/rm", ["-rf", directory]).run() }
    let file = try #require(fopen("\(directory)/page.html", "w"))
    fputs(wholeReport().html(), file)
    fclose(file)
    // Root gets no sandbox; nothing is asked of any network.
    var browser = Command(
      "/usr/bin/chromium",
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--user-data-dir=\(directory)/profile",
        "--enable-logging=stderr", "--dump-dom", "file://\(directory)/page.html",
      ])
    browser.variables["HOME"] = directory
    browser.limit = .seconds(240)
    let result = try browser.run()
    #expect(result.status == .exited(0))
    for row in BenchRow.all {
      #expect(result.output.contains("<tr id=\"row-\(row.id)\">"), "\(row.id)")
      #expect(result.output.contains("<g data-row=\"\(row.id)\">"), "\(row.id)")
    }
    let complaints = result.errors.split(separator: "\n").filter { $0.contains("CONSOLE") }
    #expect(complaints == [])
  }
}
