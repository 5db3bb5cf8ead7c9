/// Reads a document line by line: blank ones, headers of tables, and keys with their values.
struct TOMLParser {
  var cursor: TOMLCursor
  let root = TOMLTable(line: 1, .header)
  var problems: [TOMLProblem] = []
  /// Where keys go. After a header that was not understood it is a table of nobody's, so that one mistake is not told
  /// again for each key below it.
  private var current: TOMLTable
  /// Arrays and inline tables that are open.
  var nesting = 0

  init(_ bytes: [UInt8]) {
    cursor = TOMLCursor(bytes)
    current = root
  }

  mutating func parse() {
    cursor.skipByteOrderMark()
    problems += cursor.invalidText()
    while !cursor.isAtEnd {
      let start = cursor.line
      nesting = 0
      do throws(TOMLProblem) { try parseLine() } catch {
        problems.append(error)
        recover(from: start)
      }
    }
  }

  private mutating func parseLine() throws(TOMLProblem) {
    cursor.skipSpaces()
    switch cursor.peek {
    case nil, .lineFeed, .carriageReturn, .hash: break
    case .openBracket: try parseHeader()
    default: try parseKeyAndValue(into: current)
    }
    try cursor.endLine()
  }

  /// Goes on after a mistake: on the next line, or, if it was inside a value of several lines, on the next that looks
  /// like the beginning of something.
  private mutating func recover(from start: Int) {
    if cursor.line > start, cursor.isAtBeginning { return }
    cursor.skipLine()
    while nesting > 0, !cursor.isAtEnd, !cursor.isAtBeginning { cursor.skipLine() }
  }

  // --- tables

  private mutating func parseHeader() throws(TOMLProblem) {
    let line = cursor.line
    current = TOMLTable(line: line, .header)
    cursor.advance()
    let isElement = cursor.take(.openBracket)
    cursor.skipSpaces()
    let path = try parseKey()
    guard cursor.take(.closeBracket), !isElement || cursor.take(.closeBracket) else {
      throw TOMLProblem(line: line, "a table's header ends with \(isElement ? "]]" : "]")")
    }
    current = try open(path, isElement: isElement, line: line)
  }

  /// The table that a header means, made as far as it is not there.
  private func open(_ path: [String], isElement: Bool, line: Int) throws(TOMLProblem) -> TOMLTable {
    var table = root
    for key in path.dropLast() {
      switch table[key]?.value {
      case nil:
        let new = TOMLTable(line: line, .path)
        table.append(.init(key: key, line: line, value: .table(new)))
        table = new
      case .table(let next) where next.origin != .inline: table = next
      case .tables(let list): table = list[list.count - 1]
      default: throw notATable(key, table, line)
      }
    }
    let key = path[path.count - 1]
    let new = TOMLTable(line: line, .header)
    switch (table[key]?.value, isElement) {
    case (nil, _):
      table.append(.init(key: key, line: line, value: isElement ? .tables([new]) : .table(new)))
    case (.tables(let list), true): table.replace(key, with: .tables(list + [new]))
    case (.table(let there), false) where there.origin == .path:
      there.origin = .header
      there.line = line
      return there
    case (.table(let there), false) where there.origin == .header:
      throw TOMLProblem(line: line, "table `\(key)` is there already, from line \(there.line)")
    default: throw notATable(key, table, line)
    }
    return new
  }

  private func notATable(_ key: String, _ table: TOMLTable, _ line: Int) -> TOMLProblem {
    let there = table[key]
    return TOMLProblem(
      line: line,
      "`\(key)` is \(there?.value.kind ?? "nothing") from line \(there?.line ?? 0) and cannot be added to")
  }

  // --- keys and values

  mutating func parseKeyAndValue(into table: TOMLTable) throws(TOMLProblem) {
    let line = cursor.line
    let path = try parseKey()
    guard cursor.take(.equals) else {
      throw TOMLProblem(line: line, "a key is followed by = and a value")
    }
    cursor.skipSpaces()
    let value = try parseValue()
    try set(path, to: value, in: table, line: line)
  }

  private func set(
    _ path: [String], to value: TOMLValue, in start: TOMLTable, line: Int
  ) throws(TOMLProblem) {
    var table = start
    for key in path.dropLast() {
      switch table[key]?.value {
      case nil:
        let new = TOMLTable(line: line, .dottedKey)
        table.append(.init(key: key, line: line, value: .table(new)))
        table = new
      case .table(let next) where next.origin == .dottedKey: table = next
      default: throw notATable(key, table, line)
      }
    }
    let key = path[path.count - 1]
    if let there = table[key] {
      throw TOMLProblem(line: line, "`\(key)` is set already, on line \(there.line)")
    }
    table.append(.init(key: key, line: line, value: value))
  }

  /// One or more keys with dots between them, and the space after.
  private mutating func parseKey() throws(TOMLProblem) -> [String] {
    var path: [String] = []
    repeat {
      cursor.skipSpaces()
      path.append(try parseSimpleKey())
      cursor.skipSpaces()
    } while cursor.take(.dot)
    return path
  }

  private mutating func parseSimpleKey() throws(TOMLProblem) -> String {
    switch cursor.peek {
    case .quote: return try parseBasicString()
    case .apostrophe: return try parseLiteralString()
    default:
      let word = cursor.takeWhile(\.isBareKey)
      guard !word.isEmpty else {
        throw TOMLProblem(
          line: cursor.line, "a key was expected, not \(cursor.whatIsNext)")
      }
      return String(decoding: word, as: UTF8.self)
    }
  }
}
