/// Editing of one line on a terminal, with a history: logic without a machine. Bytes go in, bytes for the terminal come out.
///
/// The terminal is one that makes a carriage return and a line feed of each line feed.
///
/// The keys of Emacs and the arrows: ^A ^E ^B ^F ^D ^H ^K ^U ^W ^L ^P ^N, Home, End, Delete. ^C gives the line up, ^D on an empty
/// line is the end of the input.
public struct LineEditor: Sendable {
  public enum Outcome: Equatable, Sendable {
    /// The line goes on.
    case editing
    case line(String)
    /// ^C.
    case interrupted
    /// ^Z.
    case stopped
    /// ^D on an empty line.
    case end
  }

  /// Lines entered, the oldest first.
  public private(set) var history: [String] = []
  public var prompt: String
  public static var longestHistory: Int { 500 }
  public static var longestLine: Int { 1024 }

  private let keepsHistory: Bool
  private var text: [UInt8] = []
  private var cursor = 0
  /// Which line of the history is shown; its count for the one being written, which `draft` keeps meanwhile.
  private var shown = 0
  private var draft: [UInt8] = []
  /// Bytes of a key that takes several.
  private var escape: [UInt8] = []

  public init(prompt: String, keepsHistory: Bool = true) {
    self.prompt = prompt
    self.keepsHistory = keepsHistory
  }

  /// Begins a new line; what to show.
  public mutating func begin() -> [UInt8] {
    (text, cursor, escape, draft) = ([], 0, [], [])
    shown = history.count
    return Array(prompt.utf8)
  }

  /// Takes a byte that was typed; what to show is added to `out`.
  public mutating func type(_ byte: UInt8, _ out: inout [UInt8]) -> Outcome {
    if !escape.isEmpty { return continueEscape(byte, &out) }
    switch byte {
    case 0x0d, 0x0a:
      out.append(0x0a)
      let line = String(decoding: text, as: UTF8.self)
      if keepsHistory, !text.isEmpty, history.last != line {
        history.append(line)
        if history.count > Self.longestHistory { history.removeFirst() }
      }
      return .line(line)
    case 0x03:
      out += Array("^C\n".utf8)
      return .interrupted
    case 0x1a: return .stopped
    case 0x04:
      if text.isEmpty { return .end }
      delete(&out)
    case 0x1b: escape = [byte]
    case 0x01: move(to: 0, &out)
    case 0x05: move(to: text.count, &out)
    case 0x02: move(to: before(cursor), &out)
    case 0x06: move(to: after(cursor), &out)
    case 0x08, 0x7f:
      guard cursor > 0 else { break }
      let from = before(cursor)
      text.removeSubrange(from..<cursor)
      cursor = from
      redraw(&out)
    case 0x0b:
      text.removeSubrange(cursor...)
      redraw(&out)
    case 0x15:
      text.removeSubrange(..<cursor)
      cursor = 0
      redraw(&out)
    case 0x17:
      var from = cursor
      while from > 0, text[from - 1] == 0x20 { from -= 1 }
      while from > 0, text[from - 1] != 0x20 { from -= 1 }
      text.removeSubrange(from..<cursor)
      cursor = from
      redraw(&out)
    case 0x0c:
      out += Array("\u{1b}[H\u{1b}[2J".utf8)
      redraw(&out)
    case 0x10: recall(shown - 1, &out)
    case 0x0e: recall(shown + 1, &out)
    case 0x20..., 0x09:
      guard text.count < Self.longestLine else {
        out.append(0x07)
        break
      }
      text.insert(byte, at: cursor)
      cursor += 1
      // At the end of the line the character itself is enough.
      if cursor == text.count { out.append(byte) } else { redraw(&out) }
    default: break
    }
    return .editing
  }

  private mutating func continueEscape(_ byte: UInt8, _ out: inout [UInt8]) -> Outcome {
    escape.append(byte)
    if escape.count == 2 {
      if byte != 0x5b, byte != 0x4f { escape = [] }
      return .editing
    }
    // Parameters, then a letter or `~`.
    if byte >= 0x30, byte <= 0x3f, escape.count < 8 { return .editing }
    let parameter = escape.count > 3 ? escape[2] : 0
    escape = []
    switch byte {
    case 0x41: recall(shown - 1, &out)
    case 0x42: recall(shown + 1, &out)
    case 0x43: move(to: after(cursor), &out)
    case 0x44: move(to: before(cursor), &out)
    case 0x48: move(to: 0, &out)
    case 0x46: move(to: text.count, &out)
    case 0x7e where parameter == 0x33: delete(&out)
    case 0x7e where parameter == 0x31: move(to: 0, &out)
    case 0x7e where parameter == 0x34: move(to: text.count, &out)
    default: break
    }
    return .editing
  }

  private mutating func delete(_ out: inout [UInt8]) {
    guard cursor < text.count else { return }
    text.removeSubrange(cursor..<after(cursor))
    redraw(&out)
  }

  private mutating func recall(_ index: Int, _ out: inout [UInt8]) {
    guard index >= 0, index <= history.count, index != shown else { return }
    if shown == history.count { draft = text }
    shown = index
    text = index == history.count ? draft : Array(history[index].utf8)
    cursor = text.count
    redraw(&out)
  }

  private mutating func move(to place: Int, _ out: inout [UInt8]) {
    guard place != cursor else { return }
    cursor = place
    redraw(&out)
  }

  // Characters of UTF-8 move as one.
  private func before(_ place: Int) -> Int {
    var place = max(place - 1, 0)
    while place > 0, text[place] & 0xc0 == 0x80 { place -= 1 }
    return place
  }
  private func after(_ place: Int) -> Int {
    var place = min(place + 1, text.count)
    while place < text.count, text[place] & 0xc0 == 0x80 { place += 1 }
    return place
  }

  private func redraw(_ out: inout [UInt8]) {
    out.append(0x0d)
    out += Array(prompt.utf8)
    out += text
    out += Array("\u{1b}[K".utf8)
    let back = text[cursor...].count { $0 & 0xc0 != 0x80 }
    if back > 0 { out += Array("\u{1b}[\(back)D".utf8) }
  }
}
