import BenchFloor
import BenchKit
import BenchLinux
import Glibc
import JSONText
import Testing

private struct Absent: Error { let name: String }

/// A file of this repository.
private func file(_ name: String, _ here: String = #filePath) throws -> String {
  let root = here.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
  guard let file = fopen("\(root)/\(name)", "r") else { throw Absent(name: name) }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 16 << 20)
  return String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self)
}

@Suite struct PublishedTests {
  /// The figures in the program are those of the file, table by table.
  @Test func paperFiguresAreThoseOfTheFile() throws {
    let paper = try JSON(parsing: try file("Benchmarks/paper-figures.json"))
    guard case .object(let rows)? = paper["rows"] else { throw JSONError.endOfText }
    for member in rows {
      let figures = try #require(BenchRow.named(member.name)?.paper, "\(member.name)")
      #expect(figures.table.map(Double.init) == member.value["table"]?.number, "\(member.name)")
      #expect(figures.ultrix == member.value["ultrix"]?.number, "\(member.name)")
      #expect(figures.exo == member.value["exo"]?.number, "\(member.name)")
    }
    let inverted = try #require(paper["inverted_page_table_dec2100"])
    for row in BenchRow.all where row.group == .invertedVM {
      #expect(row.paper?.table.map(Double.init) == inverted["table"]?.number)
      #expect(row.paper?.exo == inverted[row.work]?.number, "\(row.id)")
    }
    #expect(BenchRow.all.filter { $0.paper != nil }.count == rows.count + 7)
  }

  /// The tables of BENCHMARKS.md are what the program makes of the published results.
  @Test(
    .enabled("nothing has been published: Scripts/bench-publish") {
      (try? file("Benchmarks/results.json")) != nil
    })
  func benchmarksShowThePublishedResults() throws {
    let text = try file("BENCHMARKS.md")
    let report = try BenchReport(parsing: try file("Benchmarks/results.json"))
    let begin = try #require(
      text.split(separator: "<!-- tables: ").last?.split(separator: "-->\n").dropFirst())
    let tables = begin.joined(separator: "-->\n").split(separator: "\n<!-- end of the tables").first
    #expect(tables.map { $0.drop { $0 == "\n" } }.map(String.init) == report.markdown())
    #expect(report.rows.count > 70)
  }

  /// A contestant is there, or something says why not.
  @Test func everyAbsenceHasItsReason() throws {
    var handle: OpaquePointer?
    #expect(bench_linux_open(&handle) == 0)
    let linux = try #require(handle)
    defer { bench_linux_close(linux) }
    for row in BenchRow.all {
      let hasFloor = bench_floor_describe(row.work) != nil
      #expect(hasFloor != (row.absence(of: .floor) != nil), "\(row.id)")
      let hasLinux = bench_linux_describe(linux, row.work) != nil
      #expect(hasLinux != (row.absence(of: .linux) != nil), "\(row.id)")
    }
  }

  @Test func rowsAmongManyAreOthersInOtherCircumstances() throws {
    for row in BenchRow.all where row.group == .scale || row.group == .invertedVM {
      let work = try #require(BenchRow.named(row.work), "\(row.id)")
      #expect(work.work == work.id && work.crowd == nil)
    }
    #expect(BenchRow.all.filter { $0.crowd == 1000 }.count == 4)
    #expect(try row("create_at_10").work == "environment_create_pooled")
    #expect(try row("demux_at_100").work == "demux_100")
  }
}
