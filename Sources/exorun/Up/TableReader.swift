import ArgumentParser
import TOML

/// Takes the values of one table of an `up` file, and notes what is wrong with them.
struct TableReader {
  let table: TOMLTable
  /// As the file writes its header.
  let header: String
  /// Whether a line of this table was not understood: what is missing may have been on it.
  let isDamaged: Bool
  private(set) var problems: [TOMLProblem] = []
  private var known: [String] = []

  init(_ table: TOMLTable, header: String, isDamaged: Bool) {
    self.table = table
    self.header = header
    self.isDamaged = isDamaged
  }

  mutating func note(_ line: Int, _ message: String) { problems.append(TOMLProblem(line: line, message)) }

  mutating func entry(_ key: String) -> TOMLTable.Entry? {
    known.append(key)
    return table[key]
  }

  private mutating func wrongKind(_ entry: TOMLTable.Entry, _ wanted: String) {
    note(entry.line, "`\(entry.key)` is \(wanted), not \(entry.value.kind)")
  }

  mutating func require(_ key: String, _ isThere: Bool) {
    if !isThere, table[key] == nil, !isDamaged { note(table.line, "\(header) lacks `\(key)`") }
  }

  /// The line of a key that is there.
  func line(of key: String) -> Int { table[key]?.line ?? table.line }

  mutating func string(_ key: String) -> String? {
    guard let entry = entry(key) else { return nil }
    guard case .string(let text) = entry.value else {
      wrongKind(entry, "a string")
      return nil
    }
    guard !text.unicodeScalars.contains("\0") else {
      note(entry.line, "`\(key)` contains a NUL character")
      return nil
    }
    return text
  }

  /// A string that has to have a form; `parse` throws a `ValidationError` that says which.
  mutating func string<Value>(_ key: String, _ parse: (String) throws -> Value) -> Value? {
    guard let text = string(key) else { return nil }
    do { return try parse(text) } catch {
      note(line(of: key), "`\(key)`: \((error as? ValidationError)?.message ?? "\(error)")")
      return nil
    }
  }

  mutating func integer(_ key: String, in range: ClosedRange<Int64>) -> Int64? {
    guard let entry = entry(key) else { return nil }
    guard case .integer(let value) = entry.value else {
      wrongKind(entry, "an integer")
      return nil
    }
    guard range.contains(value) else {
      note(entry.line, "`\(key)` is \(value), beyond \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    return value
  }

  /// An amount of memory in whole pages: a string with a unit, or a number of bytes.
  mutating func memory(_ key: String, atLeast least: UInt64) -> UInt64? {
    let bytes: UInt64?
    if case .integer = table[key]?.value {
      bytes = integer(key, in: 0...Int64.max).map { UInt64($0) }
    } else {
      bytes = string(key, parseMemorySize)
    }
    guard let bytes else { return nil }
    guard bytes & 0xfff == 0, bytes >= least else {
      note(
        line(of: key),
        "`\(key)` is at least \(memoryText(least)) and whole pages of 4 KiB, not \(bytes) bytes")
      return nil
    }
    return bytes
  }

  mutating func strings(_ key: String) -> [String] {
    guard let entry = entry(key) else { return [] }
    guard case .array(let elements) = entry.value else {
      wrongKind(entry, "an array of strings")
      return []
    }
    return elements.compactMap { element in
      guard case .string(let text) = element.value, !text.unicodeScalars.contains("\0") else {
        note(element.line, "`\(key)` holds strings without NUL characters, not \(element.value.kind)")
        return nil
      }
      return text
    }
  }

  /// A table of strings, as `NAME=value`.
  mutating func variables(_ key: String) -> [String] {
    guard let entry = entry(key) else { return [] }
    guard case .table(let table) = entry.value else {
      wrongKind(entry, "a table")
      return []
    }
    return table.entries.compactMap { variable in
      guard case .string(let text) = variable.value else {
        note(variable.line, "`\(variable.key)` is a string, not \(variable.value.kind)")
        return nil
      }
      guard !variable.key.isEmpty, !variable.key.contains("="),
        !(variable.key + text).unicodeScalars.contains("\0")
      else {
        note(
          variable.line, "`\(variable.key)` cannot be a variable's name, or its value holds a NUL character")
        return nil
      }
      guard !variable.key.hasPrefix("EXO_SHARE_") else {
        note(variable.line, "`\(variable.key)`: variables that begin like this tell of shares")
        return nil
      }
      return "\(variable.key)=\(text)"
    }
  }

  /// Call last: whatever was not asked for is not meant to be there.
  mutating func finish() {
    for entry in table.entries where !known.contains(entry.key) {
      note(entry.line, "\(header) knows no `\(entry.key)`, only \(known.joined(separator: ", "))")
    }
  }
}
