import BenchKit
import Glibc
import TestSupport
import Testing

/// Runs exorun, which lies beside the test bundle, with its output in a file.
private func exorun(_ arguments: String...) throws -> (status: Int32, output: String) {
  let directory = try #require(CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? executablePath())
    .split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
  let output = "/tmp/exorun-bench-\(getpid())-\(UInt64.random(in: 0 ... .max))"
  defer { unlink(output) }
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
  posix_spawn_file_actions_adddup2(&actions, 1, 2)
  var words: [UnsafeMutablePointer<CChar>?] = (["exorun"] + arguments).map { strdup($0) } + [nil]
  defer { for word in words { free(word) } }
  var child: pid_t = 0
  try #require(posix_spawn(&child, "\(directory)/exorun", &actions, nil, &words, environ) == 0)
  var status: Int32 = 0
  waitpid(child, &status, 0)
  return (status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f), try text(of: output))
}
private func executablePath() -> String? {
  var buffer = [UInt8](repeating: 0, count: 4096)
  let count = readlink("/proc/self/exe", &buffer, buffer.count)
  return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
}
private func text(of path: String) throws -> String {
  let file = try #require(fopen(path, "r"))
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 1 << 20)
  return String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self)
}

@Suite struct CommandTests {
  @Test func listNamesEveryRow() throws {
    let (status, output) = try exorun("bench", "--list")
    #expect(status == 0)
    let words = Set(output.split { $0 == " " || $0 == "\n" }.map(String.init))
    #expect(BenchRow.all.map(\.id).filter { !words.contains($0) } == [])
    #expect(BenchGroup.allCases.map(\.rawValue).filter { !words.contains($0) } == [])
  }

  @Test(arguments: [
    (["--group", "nothing"], "nothing"), (["--row", "nothing"], "nothing"), (["--repeat", "0"], "--repeat"),
    (["--tolerance", "-1"], "--tolerance"), (["--compare", "/nonexistent"], "/nonexistent: no such file"),
    (["--compare", "/"], "/: a directory"), (["--compare", "/usr/bin/env"], "not JSON"),
    (["--json", "/nonexistent/x", "--row", "dirty"], "/nonexistent/x: cannot be written"),
  ])
  func badUsageIsOneLine(arguments: [String], hint: String) throws {
    let (status, output) = try exorun("bench", arguments[0], arguments.count > 1 ? arguments[1] : "--list")
    #expect(status == 125)
    #expect(output.split(separator: "\n").count == 1)
    #expect(output.contains(hint), "\(output)")
  }

  /// The file that is compared with says the row once took no time at all, or for ever; one sample has no spread, so
  /// that luck has no part in it.
  @Test(.requires(.kvm)) func compareExitsWith3OnARegression() throws {
    let file = "/tmp/exorun-bench-old-\(getpid())"
    defer { unlink(file) }
    for (median, expected) in [(0.001, Int32(3)), (1e15, 0)] {
      let row = try #require(BenchRow.named("procedure_call"))
      let old = BenchReport(
        machine: [],
        rows: [
          RowResult(row: row, exo: Summary(minimum: median, median: median, percentile95: median, count: 9))
        ])
      let out = try #require(fopen(file, "w"))
      fputs(old.json.text(), out)
      fclose(out)
      let (status, output) = try exorun(
        "bench", "--repeat", "1", "--row", "procedure_call", "--compare", file, "--tolerance", "50")
      #expect(status == expected, "\(output)")
      #expect(output.contains("procedure_call (exo): "))
    }
  }

  @Test(.requires(.kvm)) func jsonIsTheWholeOutput() throws {
    let file = "/tmp/exorun-bench-new-\(getpid())"
    defer { unlink(file) }
    let (status, output) = try exorun("bench", "--quick", "--row", "clock", "--row", "dirty", "--json", file)
    #expect(status == 0)
    #expect(output.contains("linux/exo"))
    let report = try BenchReport(parsing: text(of: file))
    #expect(report.rows.map(\.row.id) == ["clock", "dirty"])
    for result in report.rows {
      #expect(result.exo != nil && result.floor != nil && (result.linux?.count ?? 0) >= 1)
    }
    #expect(report.machine.contains { $0.name == "kernel" && !$0.value.isEmpty })
  }
}
