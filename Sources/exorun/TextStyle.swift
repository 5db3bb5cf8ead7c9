import Glibc

/// Escape sequences, where they are welcome: on a terminal that is not dumb, unless NO_COLOR is set
/// (https://no-color.org).
struct TextStyle {
  let isColoured: Bool

  static let plain = TextStyle(isColoured: false)
  static func of(_ descriptor: Int32) -> TextStyle {
    TextStyle(
      isColoured: isatty(descriptor) == 1 && (hostVariable("NO_COLOR") ?? "").isEmpty
        && hostVariable("TERM") != "dumb")
  }

  func bold(_ text: String) -> String { wrap(text, "1") }
  func faint(_ text: String) -> String { wrap(text, "2") }
  func red(_ text: String) -> String { wrap(text, "31") }
  func green(_ text: String) -> String { wrap(text, "32") }
  func yellow(_ text: String) -> String { wrap(text, "33") }

  private func wrap(_ text: String, _ code: String) -> String {
    isColoured ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text
  }
}

extension String {
  /// With spaces up to a width in characters.
  func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
  func leftPadded(to width: Int, with filler: Character = " ") -> String {
    String(repeating: filler, count: max(0, width - count)) + self
  }
}
