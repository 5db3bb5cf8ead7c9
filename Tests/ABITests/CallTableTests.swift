import ExoABI
import Glibc
import Testing

@Suite struct CallTableTests {
  private struct Row {
    let name: String
    let arguments: String
    let result: String
    let errorText: String
    /// The names among the words of `errorText`.
    var errors: [String] {
      errorText.split { $0 == " " || $0 == ";" || $0 == "," }.map(String.init).filter { word in
        word.first == "E" && word.allSatisfy(\.isUppercase)
      }
    }
  }

  private static func row(_ number: UInt32) -> Row? {
    guard let found = exo_describe_call(number) else { return nil }
    let row = found.pointee
    guard let name = row.name, let arguments = row.arguments, let result = row.result, let errors = row.errors
    else { return nil }
    return Row(
      name: String(cString: name), arguments: String(cString: arguments), result: String(cString: result),
      errorText: String(cString: errors))
  }

  /// A gap would be a row of null pointers.
  @Test func denseAndUnique() {
    var names: Set<String> = []
    for number in 0..<EXO_CALL_COUNT.rawValue {
      guard let row = Self.row(number) else {
        Issue.record("call \(number) is not described")
        continue
      }
      #expect(names.insert(row.name).inserted, "two calls named \(row.name)")
      #expect(!row.name.isEmpty && row.name.allSatisfy { $0.isLowercase || $0 == "_" })
      #expect(!row.result.isEmpty)
    }
    #expect(EXO_CALL_COUNT.rawValue >= 12)
  }

  @Test func nothingPastTheEnd() {
    for number in [EXO_CALL_COUNT.rawValue, EXO_CALL_COUNT.rawValue + 1, 1 << 31, UInt32.max] {
      #expect(exo_describe_call(number) == nil)
    }
  }

  /// Numbers that images in the world already use.
  @Test func numbersStay() {
    let known = [
      "null", "exit", "console_write", "console_read", "frame_allocate", "frame_free", "map", "unmap",
      "protect", "clock", "exception_bind", "exception_unbind", "capability_derive", "capability_grant",
      "capability_revoke", "capability_drop", "capability_inspect", "capability_next", "environment_create",
      "environment_map", "environment_start", "environment_stop", "environment_resume", "environment_end",
      "environment_inspect", "environment_wait", "page_vector", "guarantee", "region_create",
      "region_access", "event_bind", "event_post", "timer_set", "slices_allocate", "slices_bind",
      "system_call_bind",
    ]
    for (number, name) in known.enumerated() { #expect(Self.row(UInt32(number))?.name == name) }
  }

  /// A submission carries five arguments.
  @Test func argumentsFit() {
    for number in 0..<EXO_CALL_COUNT.rawValue {
      let arguments = Self.row(number)?.arguments ?? ""
      #expect(arguments.split(separator: ",").count <= 5, "call \(number): \(arguments)")
    }
  }

  /// The reference page and the table say the same.
  @Test func referenceFollowsTheTable() throws {
    let package = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let path = "/\(package)/docs/exocalls.md"
    let text = try #require(Self.contents(of: path), "\(path) cannot be read")
    let rows = text.split(separator: "\n").filter { $0.hasPrefix("| ") && $0.contains("`") }.map(Self.cells)
    #expect(rows.count == Int(EXO_CALL_COUNT.rawValue))
    for number in 0..<EXO_CALL_COUNT.rawValue {
      guard let row = Self.row(number), Int(number) < rows.count else { continue }
      let expected = [
        "\(number)", "`\(row.name)`", row.arguments, row.result, row.errorText,
      ]
      #expect(rows[Int(number)] == expected)
    }
  }

  private static func contents(of path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }
  /// The cells of one line of a table. A bar within a cell is written `\\|`.
  private static func cells(_ line: Substring) -> [String] {
    line.replacing("\\|", with: "\u{1}").split(separator: "|", omittingEmptySubsequences: false)
      .dropFirst().dropLast().map { cell in
        let text = cell.drop { $0 == " " }.replacing("\u{1}", with: "|")
        return String(text.reversed().drop { $0 == " " }.reversed())
      }
  }

  @Test func errorsAreKnown() {
    let known: Set<String> = [
      "EPERM", "ENOENT", "EIO", "EBADF", "EAGAIN", "ENOMEM", "EFAULT", "EBUSY", "EEXIST", "EINVAL", "ENOSPC",
      "EPIPE", "ERANGE", "ENOSYS", "EOPNOTSUPP", "ESTALE", "EDQUOT",
    ]
    for number in 0..<EXO_CALL_COUNT.rawValue {
      let errors = Self.row(number)?.errors ?? []
      #expect(Set(errors).isSubset(of: known), "call \(number): \(errors)")
      #expect(Set(errors).count == errors.count)
    }
  }
}
