import BenchKit
import Testing

@Suite struct ReportTests {
  @Test func ratiosAreMedianOverMedian() throws {
    let result = RowResult(
      row: try row("exocall"), exo: summary(200, spread: 100), linux: summary(300), floor: summary(160))
    #expect(result.linuxOverExo == 1.5)
    #expect(result.exoOverFloor == 1.25)
  }

  @Test func ratiosNeedBothSides() throws {
    let row = try row("exocall")
    #expect(RowResult(row: row, linux: summary(1), floor: summary(1)).linuxOverExo == nil)
    #expect(RowResult(row: row, exo: summary(1)).exoOverFloor == nil)
    #expect(RowResult(row: row, exo: summary(0), linux: summary(1)).linuxOverExo == nil)
  }

  @Test func tableHoldsFiguresRatiosAndAlignment() throws {
    let report = BenchReport(
      machine: [],
      rows: [
        RowResult(
          row: try row("exocall"), exo: summary(200, spread: 10), linux: summary(142), floor: summary(160)),
        RowResult(row: try row("trap"), linux: summary(2_400), note: "exo: does not exist yet"),
      ])
    let lines = report.text(color: false).split(separator: "\n", omittingEmptySubsequences: false).map(
      String.init)
    let exocall = try #require(lines.first { $0.hasPrefix("  exocall") })
    let trap = try #require(lines.first { $0.hasPrefix("  trap") })
    #expect(
      exocall.split(separator: " ") == [
        "exocall", "200", "ns", "5.00", "%", "142", "ns", "160", "ns", "0.71x", "1.25x", "21.3", "1.60",
      ])
    #expect(exocall.count == trap.count)
    #expect(lines.contains("calls") && lines.contains("vm"))
    #expect(lines.last == "trap: exo: does not exist yet")
    #expect(!report.text(color: false).contains("\u{1b}"))
    #expect(report.text(color: true).contains("\u{1b}[1mcalls\u{1b}[0m"))
  }

  @Test func rowsWithoutFiguresSayWhy() throws {
    let rows = [
      RowResult(row: try row("exocall"), floor: summary(160), note: "here"),
      RowResult(row: try row("lrpc"), note: "there"), RowResult(row: try row("trap"), note: "there"),
    ]
    let lines = BenchReport(machine: [], rows: rows).text(color: false).split(separator: "\n").map(
      String.init)
    #expect(lines.suffix(3) == ["exocall: here", "lrpc: there", "trap: there"])
    #expect(!lines.contains { $0.hasPrefix("  lrpc") || $0 == "ipc" })
  }

  @Test(arguments: [
    (0.5, "0.50 ns"), (9.994, "9.99 ns"), (9.996, "10.0 ns"), (99.94, "99.9 ns"), (99.96, "100 ns"),
    (999.4, "999 ns"), (999.6, "1.00 us"), (27_400, "27.4 us"), (999_900, "1.00 ms"), (3.2e9, "3.20 s"),
    (7e12, "7000 s"), (0, "0.00 ns"),
  ])
  func figuresHaveThreeDigitsAndAUnit(value: Double, text: String) {
    #expect(figure(value, .nanoseconds) == text)
  }

  @Test func otherUnits() {
    #expect(figure(65536, .bytes) == "64.0 KiB")
    #expect(figure(12.5, .percent) == "12.5 %")
    #expect(figure(2_500_000, .rate) == "2.50 M/s")
  }
}
