import BenchKit
import Testing

@Suite struct ComparisonTests {
  private func report(
    _ exo: Summary?, linux: Summary? = nil, id: String = "exocall"
  ) throws -> BenchReport {
    BenchReport(machine: [], rows: [RowResult(row: try row(id), exo: exo, linux: linux)])
  }

  @Test func aChangeWithinTheSpreadIsNone() throws {
    let old = try report(summary(100, spread: 20))
    #expect(try report(summary(115, spread: 2)).movements(since: old, tolerance: 0).isEmpty)
    #expect(try report(summary(85, spread: 2)).movements(since: old, tolerance: 0).isEmpty)
    // The larger spread counts, whichever run has it.
    let steady = try report(summary(100, spread: 2))
    #expect(try report(summary(115, spread: 20)).movements(since: steady, tolerance: 0).isEmpty)
  }

  @Test func slowerThanTheToleranceIsARegression() throws {
    let old = try report(summary(100, spread: 2))
    let moved = try report(summary(120, spread: 2)).movements(since: old, tolerance: 0.1)
    #expect(
      moved == [
        Movement(row: try row("exocall"), contestant: .exo, before: 100, after: 120, isRegression: true)
      ])
    #expect(moved.first?.text == "exocall (exo): 100 ns -> 120 ns, +20.0 %, a regression")
    #expect(
      try report(summary(109, spread: 2)).movements(since: old, tolerance: 0.1).map(\.isRegression) == [false]
    )
  }

  @Test func fasterIsAMovementOnly() throws {
    let old = try report(summary(100, spread: 2))
    let moved = try report(summary(50, spread: 2)).movements(since: old, tolerance: 0.1)
    #expect(moved.map(\.isRegression) == [false])
    #expect(moved.first?.text == "exocall (exo): 100 ns -> 50.0 ns, -50.0 %")
  }

  @Test func moreIsBetterWhereTheUnitSaysSo() throws {
    let old = try report(summary(100), id: "global_throughput")
    let fewer = try report(summary(50), id: "global_throughput")
    let more = try report(summary(200), id: "global_throughput")
    #expect(fewer.movements(since: old, tolerance: 0.1).map(\.isRegression) == [true])
    #expect(more.movements(since: old, tolerance: 0.1).map(\.isRegression) == [false])
  }

  @Test func othersDoNotRegress() throws {
    let old = try report(nil, linux: summary(100))
    let moved = try report(nil, linux: summary(300)).movements(since: old, tolerance: 0.1)
    #expect(moved.map(\.contestant) == [.linux])
    #expect(moved.map(\.isRegression) == [false])
  }

  @Test func rowsOnOneSideOnlyAreLeftOut() throws {
    #expect(try report(summary(300)).movements(since: report(nil), tolerance: 0).isEmpty)
    #expect(
      try report(summary(300)).movements(since: report(summary(1), id: "trap"), tolerance: 0).isEmpty)
  }
}
