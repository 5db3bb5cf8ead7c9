import BenchKit
import JSONText
import Testing

@Suite struct JSONTests {
  @Test func valuesSurviveTheirText() throws {
    let value = JSON.object([
      .init("null", .null), .init("yes", .bool(true)), .init("no", .bool(false)),
      .init("whole", .number(-42)),
      .init("part", .number(0.125)), .init("big", .number(1e300)),
      .init("text", .string("quote \" slash \\ line \n tab \t bell \u{7} é 🙂")),
      .init("none", .array([])), .init("empty", .object([])),
      .init("deep", .array([.array([.number(1)]), .object([.init("a", .null)])])),
    ])
    #expect(try JSON(parsing: value.text()) == value)
  }

  @Test func wholeNumbersHaveNoFraction() {
    #expect(JSON.number(3).text() == "3")
    #expect(JSON.number(3.5).text() == "3.5")
    #expect(JSON.number(.infinity).text() == "null")
  }

  @Test func escapesAreRead() throws {
    #expect(try JSON(parsing: #""\u0041\n\/\ud83d\ude42""#) == .string("A\n/🙂"))
  }

  @Test(arguments: [
    ("", JSONError.endOfText), ("[1", .endOfText), ("{\"a\"}", .unexpected(byte: 0x7d, offset: 4)),
    ("1 2", .unexpected(byte: 0x32, offset: 2)), ("1-1", .badNumber(offset: 0)),
    ("\"\\x\"", .badString(offset: 0)),
    ("\"\\ud800\"", .badString(offset: 0)), ("nul", .endOfText), ("\"a\nb\"", .badString(offset: 0)),
  ])
  func brokenTextIsRefused(text: String, error: JSONError) {
    #expect(throws: error) { try JSON(parsing: text) }
  }

  @Test func depthIsLimited() {
    #expect(throws: JSONError.tooDeep(offset: 64)) {
      try JSON(parsing: String(repeating: "[", count: 100_000))
    }
  }

  @Test func everyCutAndChangeOfAFileIsAnErrorNotACrash() throws {
    let text = BenchReport(
      machine: [.init("kernel", "6.18")], rows: [RowResult(row: try row("exocall"), exo: summary(200))]
    ).json.text()
    let bytes = Array(text.utf8)
    var refused = 0
    for index in bytes.indices {
      for replacement in [nil, UInt8(ascii: "\""), UInt8(ascii: "["), 0xff, 0] {
        var mutant = bytes
        if let replacement { mutant[index] = replacement } else { mutant.removeLast(bytes.count - index) }
        do throws(ReportError) { _ = try BenchReport(parsing: String(decoding: mutant, as: UTF8.self)) } catch
        {
          refused += 1
        }
      }
    }
    #expect(refused > bytes.count)
  }
}

@Suite struct ReportFileTests {
  @Test func aReportSurvivesItsFile() throws {
    let report = BenchReport(
      machine: [.init("kernel", "6.18"), .init("processor", "some")],
      rows: [
        RowResult(
          row: try row("exocall"), exo: summary(200, spread: 8), linux: summary(141), floor: summary(160.125),
          note: "placed"),
        RowResult(row: try row("trap"), linux: summary(2_400)),
      ])
    #expect(try BenchReport(parsing: report.json.text()) == report)
  }

  @Test func theFileFollowsItsSchema() throws {
    let report = BenchReport(
      machine: [.init("kernel", "6.18")],
      rows: [RowResult(row: try row("exocall"), exo: summary(200), linux: summary(100), note: "n")])
    let json = try JSON(parsing: report.json.text())
    #expect(json["schema"] == .number(1))
    #expect(json["machine"]?["kernel"] == .string("6.18"))
    let row = try #require(json["rows"]?.array?.first)
    #expect(row["id"] == .string("exocall"))
    #expect(row["group"] == .string("calls"))
    #expect(row["unit"] == .string("ns"))
    #expect(row["paper"]?["table"] == .number(4))
    #expect(row["paper"]?["ultrix"] == .number(21.3))
    #expect(row["exo"]?["median"] == .number(200))
    #expect(row["exo"]?["min"] == .number(200))
    #expect(row["exo"]?["p95"] == .number(200))
    #expect(row["exo"]?["n"] == .number(20))
    #expect(row["floor"] == .null)
    #expect(row["linux_over_exo"] == .number(0.5))
    #expect(row["exo_over_floor"] == .null)
    #expect(row["note"] == .string("n"))
  }

  @Test func otherFilesAreRefused() {
    #expect(throws: ReportError.wrongSchema(2)) { try BenchReport(parsing: #"{"schema": 2, "rows": []}"#) }
    #expect(throws: ReportError.wrongSchema(nil)) { try BenchReport(parsing: "[]") }
    #expect(throws: ReportError.notJSON(.endOfText)) { try BenchReport(parsing: "{") }
    #expect(throws: ReportError.incomplete(row: 0)) {
      try BenchReport(parsing: #"{"schema": 1, "rows": [{"id": "trap", "exo": {"min": 1}}]}"#)
    }
  }

  @Test func unknownRowsAreLeftOut() throws {
    let text = #"{"schema": 1, "rows": [{"id": "of_the_future", "exo": 7}, {"id": "trap"}]}"#
    #expect(try BenchReport(parsing: text).rows.map(\.row.id) == ["trap"])
  }
}
