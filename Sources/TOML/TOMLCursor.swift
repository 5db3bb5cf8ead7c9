/// A place in a document's bytes, and the line it is on.
struct TOMLCursor {
  private let bytes: [UInt8]
  private var at = 0
  private(set) var line = 1
  private var lineStart = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { at == bytes.count }
  var peek: UInt8? { at < bytes.count ? bytes[at] : nil }
  func peek(_ distance: Int) -> UInt8? { at + distance < bytes.count ? bytes[at + distance] : nil }

  mutating func advance() {
    guard at < bytes.count else { return }
    at += 1
    if bytes[at - 1] == .lineFeed {
      line += 1
      lineStart = at
    }
  }

  /// Passes this byte if it is the next.
  mutating func take(_ byte: UInt8) -> Bool {
    guard peek == byte else { return false }
    advance()
    return true
  }

  mutating func takeWhile(_ belongs: (UInt8) -> Bool) -> ArraySlice<UInt8> {
    let start = at
    while at < bytes.count, belongs(bytes[at]) { advance() }
    return bytes[start..<at]
  }

  mutating func skipSpaces() { while peek == 0x20 || peek == 0x09 { advance() } }

  mutating func skipByteOrderMark() { if bytes.starts(with: [0xef, 0xbb, 0xbf]) { at = 3 } }

  /// Space, ends of lines and comments.
  mutating func skipBlank() throws(TOMLProblem) {
    while true {
      skipSpaces()
      switch peek {
      case .lineFeed: advance()
      case .carriageReturn: try passCarriageReturn()
      case .hash: try skipComment()
      default: return
      }
    }
  }

  /// What may stand behind a header or a value, and the end of the line.
  mutating func endLine() throws(TOMLProblem) {
    skipSpaces()
    if peek == .hash { try skipComment() }
    if peek == .carriageReturn { try passCarriageReturn() }
    guard !isAtEnd else { return }
    guard take(.lineFeed) else { throw TOMLProblem(line: line, "the line should end before \(whatIsNext)") }
  }

  /// To the beginning of the next line.
  mutating func skipLine() {
    while let byte = peek {
      advance()
      if byte == .lineFeed { return }
    }
  }

  private mutating func passCarriageReturn() throws(TOMLProblem) {
    guard peek(1) == .lineFeed else {
      throw TOMLProblem(line: line, "a carriage return that does not end a line")
    }
    advance()
  }

  private mutating func skipComment() throws(TOMLProblem) {
    while let byte = peek, byte != .lineFeed {
      if byte == .carriageReturn, peek(1) == .lineFeed { return }
      guard byte >= 0x20 && byte != 0x7f || byte == 0x09 else {
        throw TOMLProblem(line: line, "a control character in a comment")
      }
      advance()
    }
  }

  /// Whether this is the first of its line and seems to begin a header, or a key with a value.
  var isAtBeginning: Bool {
    guard bytes[lineStart..<at].allSatisfy({ $0 == 0x20 || $0 == 0x09 }) else { return false }
    var look = self
    look.skipSpaces()
    if look.take(.openBracket) {
      _ = look.take(.openBracket)
      // An array's element may begin like this too, but not with a word.
      let word = look.takeWhile(\.isBareKey)
      return word.first.map { !$0.isDigit && $0 != 0x2d } ?? false
        && !["true", "false"].contains(String(decoding: word, as: UTF8.self))
        && (look.peek == .closeBracket || look.peek == .dot)
    }
    guard !look.takeWhile({ $0.isBareKey || $0 == .dot }).isEmpty else { return false }
    look.skipSpaces()
    return look.peek == .equals
  }

  /// The next character, for a message.
  var whatIsNext: String {
    guard let byte = peek else { return "the end of the file" }
    if byte == .lineFeed || byte == .carriageReturn { return "the end of the line" }
    let character = String(decoding: bytes[at..<min(at + 4, bytes.count)], as: UTF8.self).first
    guard byte >= 0x20, byte != 0x7f, let character else { return "a control character" }
    return "`\(character)`"
  }

  /// Each line that is not UTF-8.
  func invalidText() -> [TOMLProblem] {
    bytes.split(separator: .lineFeed, omittingEmptySubsequences: false).enumerated().compactMap {
      number, text in
      String(validating: text, as: UTF8.self) == nil
        ? TOMLProblem(line: number + 1, "bytes that are no UTF-8 text") : nil
    }
  }
}

extension UInt8 {
  static let lineFeed = UInt8(ascii: "\n")
  static let carriageReturn = UInt8(ascii: "\r")
  static let hash = UInt8(ascii: "#")
  static let equals = UInt8(ascii: "=")
  static let comma = UInt8(ascii: ",")
  static let dot = UInt8(ascii: ".")
  static let quote = UInt8(ascii: "\"")
  static let apostrophe = UInt8(ascii: "'")
  static let backslash = UInt8(ascii: "\\")
  static let openBracket = UInt8(ascii: "[")
  static let closeBracket = UInt8(ascii: "]")
  static let openBrace = UInt8(ascii: "{")
  static let closeBrace = UInt8(ascii: "}")

  var isDigit: Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= self }
  var isBareKey: Bool {
    isDigit || UInt8(ascii: "a")...UInt8(ascii: "z") ~= self || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= self
      || self == UInt8(ascii: "_") || self == UInt8(ascii: "-")
  }
  /// What an unquoted value does not contain.
  var endsWord: Bool {
    self <= 0x20 || [.comma, .closeBracket, .closeBrace, .hash, .equals, .quote, .apostrophe].contains(self)
  }
}
