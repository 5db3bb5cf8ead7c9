extension TOMLParser {
  /// Most arrays and inline tables within one another.
  static let depthLimit = 32

  /// The value that begins here.
  mutating func parseValue() throws(TOMLProblem) -> TOMLValue {
    switch cursor.peek {
    case .quote: return .string(try parseBasicString())
    case .apostrophe: return .string(try parseLiteralString())
    case .openBracket, .openBrace:
      guard nesting < Self.depthLimit else {
        throw TOMLProblem(line: cursor.line, "more than \(Self.depthLimit) values within one another")
      }
      // What leaves here by a mistake stays open: `recover` then looks for its end.
      nesting += 1
      let value: TOMLValue =
        cursor.peek == .openBracket ? .array(try parseArray()) : .table(try parseInlineTable())
      nesting -= 1
      return value
    default: return try parseWord()
    }
  }

  // --- strings

  mutating func parseBasicString() throws(TOMLProblem) -> String {
    let line = cursor.line
    try refuseSeveralLines(.quote)
    cursor.advance()
    var text: [UInt8] = []
    while let byte = cursor.peek, byte != .lineFeed {
      cursor.advance()
      switch byte {
      case .quote: return String(decoding: text, as: UTF8.self)
      case .backslash: text += try parseEscape()
      default:
        try requirePrintable(byte, line)
        text.append(byte)
      }
    }
    throw TOMLProblem(line: line, "a string without its closing \"")
  }

  mutating func parseLiteralString() throws(TOMLProblem) -> String {
    let line = cursor.line
    try refuseSeveralLines(.apostrophe)
    cursor.advance()
    var text: [UInt8] = []
    while let byte = cursor.peek, byte != .lineFeed {
      cursor.advance()
      if byte == .apostrophe { return String(decoding: text, as: UTF8.self) }
      try requirePrintable(byte, line)
      text.append(byte)
    }
    throw TOMLProblem(line: line, "a string without its closing '")
  }

  private func refuseSeveralLines(_ mark: UInt8) throws(TOMLProblem) {
    guard cursor.peek(1) == mark, cursor.peek(2) == mark else { return }
    throw TOMLProblem(
      line: cursor.line, "strings of several lines are not read here: write \\n for the end of a line")
  }

  private func requirePrintable(_ byte: UInt8, _ line: Int) throws(TOMLProblem) {
    guard byte >= 0x20 && byte != 0x7f || byte == 0x09 else {
      throw TOMLProblem(line: line, "a control character in a string: write it as an escape")
    }
  }

  private mutating func parseEscape() throws(TOMLProblem) -> [UInt8] {
    let line = cursor.line
    guard let byte = cursor.peek else { throw TOMLProblem(line: line, "a string without its closing \"") }
    let plain: [UInt8: UInt8] = [
      .quote: .quote, .backslash: .backslash, 0x62: 8, 0x74: 9, 0x6e: 10, 0x66: 12, 0x72: 13,
    ]
    if let meant = plain[byte] {
      cursor.advance()
      return [meant]
    }
    // \uXXXX and \UXXXXXXXX
    guard byte == 0x75 || byte == 0x55 else {
      throw TOMLProblem(line: line, "no escape begins with \(cursor.whatIsNext)")
    }
    cursor.advance()
    var value: UInt32 = 0
    for _ in 0..<(byte == 0x75 ? 4 : 8) {
      guard let digit = cursor.peek.flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else {
        throw TOMLProblem(
          line: line, "an escape of a character has \(byte == 0x75 ? 4 : 8) hexadecimal digits")
      }
      cursor.advance()
      value = value << 4 | UInt32(digit)
    }
    guard let scalar = Unicode.Scalar(value) else {
      throw TOMLProblem(line: line, "there is no character U+\(String(value, radix: 16, uppercase: true))")
    }
    return Array(String(Character(scalar)).utf8)
  }

  // --- arrays and inline tables

  /// Elements may stand on lines of their own, with comments.
  private mutating func parseArray() throws(TOMLProblem) -> [TOMLElement] {
    let line = cursor.line
    cursor.advance()
    var elements: [TOMLElement] = []
    while true {
      try passToElement(of: line)
      if cursor.take(.closeBracket) { return elements }
      elements.append(TOMLElement(line: cursor.line, value: try parseValue()))
      try passToElement(of: line)
      if cursor.take(.comma) { continue }
      guard cursor.take(.closeBracket) else {
        throw TOMLProblem(
          line: cursor.line, "between an array's elements a comma was expected, not \(cursor.whatIsNext)")
      }
      return elements
    }
  }

  /// To what comes next in an array that began on a line. Where that is a new key or header, or nothing, the array was
  /// not closed.
  private mutating func passToElement(of line: Int) throws(TOMLProblem) {
    try cursor.skipBlank()
    guard cursor.isAtEnd || cursor.line > line && cursor.isAtBeginning else { return }
    throw TOMLProblem(line: line, "an array without its closing ]")
  }

  private mutating func parseInlineTable() throws(TOMLProblem) -> TOMLTable {
    let table = TOMLTable(line: cursor.line, .dottedKey)
    cursor.advance()
    cursor.skipSpaces()
    if !cursor.take(.closeBrace) {
      repeat {
        cursor.skipSpaces()
        try parseKeyAndValue(into: table)
        cursor.skipSpaces()
      } while cursor.take(.comma)
      guard cursor.take(.closeBrace) else {
        throw TOMLProblem(
          line: cursor.line, "in a table within { } a comma or } was expected, not \(cursor.whatIsNext)")
      }
    }
    table.close()
    return table
  }

  // --- words: booleans and integers, and what looks like more

  private mutating func parseWord() throws(TOMLProblem) -> TOMLValue {
    let line = cursor.line
    let bytes = cursor.takeWhile { !$0.endsWord }
    let word = String(decoding: bytes, as: UTF8.self)
    switch word {
    case "": throw TOMLProblem(line: line, "a value was expected, not \(cursor.whatIsNext)")
    case "true": return .boolean(true)
    case "false": return .boolean(false)
    default: break
    }
    if let value = try integer(word, line) { return .integer(value) }
    let begins = bytes.first.map { $0.isDigit || $0 == 0x2b || $0 == 0x2d || $0 == .dot } ?? false
    if begins || word == "inf" || word == "nan" {
      let digits = bytes.allSatisfy { $0.isDigit || ".eE+-_:TZ".utf8.contains($0) }
      let isNumber = digits || word.hasSuffix("inf") || word.hasSuffix("nan")
      throw TOMLProblem(
        line: line,
        isNumber
          ? "`\(word)`: only whole numbers are read here, anything else is a string"
          : "`\(word)` is no whole number, and a string stands in quotes")
    }
    throw TOMLProblem(line: line, "`\(word)` is no value: a string stands in quotes")
  }

  /// Nil if it has not the form of an integer.
  private func integer(_ word: String, _ line: Int) throws(TOMLProblem) -> Int64? {
    var digits = Substring(word)
    let isSigned = digits.first == "-" || digits.first == "+"
    let isNegative = digits.first == "-"
    if isSigned { digits.removeFirst() }
    var radix = 10
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
      guard !isSigned else { return nil }
      radix = base
      digits.removeFirst(2)
    }
    // Underscores stand between digits.
    let groups = digits.split(separator: "_", omittingEmptySubsequences: false)
    let allowed = groups.allSatisfy { group in
      !group.isEmpty && group.utf8.allSatisfy { Character(Unicode.Scalar($0)).isDigit(in: radix) }
    }
    guard allowed else { return nil }
    let plain = groups.joined()
    guard radix != 10 || plain.count == 1 || plain.first != "0" else {
      throw TOMLProblem(line: line, "`\(word)`: a whole number does not begin with 0")
    }
    guard let value = Int64((isNegative ? "-" : "") + plain, radix: radix) else {
      throw TOMLProblem(line: line, "`\(word)` is beyond 64 bits")
    }
    return value
  }
}

extension TOMLTable {
  /// An inline table is complete, and so are those that its dotted keys made.
  fileprivate func close() {
    origin = .inline
    for case .table(let inner) in entries.map(\.value) where inner.origin == .dottedKey { inner.close() }
  }
}

extension Character {
  fileprivate func isDigit(in radix: Int) -> Bool { isASCII && (hexDigitValue.map { $0 < radix } ?? false) }
}
