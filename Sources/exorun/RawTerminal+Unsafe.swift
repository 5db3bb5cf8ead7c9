import Glibc

/// A terminal on standard input that a guest edits lines on by itself: no echo, no lines, ^C and ^Z are bytes. ^\ still ends
/// exorun. What it was before comes back with `restore`.
struct RawTerminal {
  private let before: termios

  /// Nil if standard input is no terminal.
  init?() {
    var modes = termios()
    // SAFETY: tcgetattr fills in the structure it is given.
    guard unsafe tcgetattr(STDIN_FILENO, &modes) == 0 else { return nil }
    before = modes
    modes.c_lflag &= ~UInt32(ICANON | ECHO | IEXTEN)
    // SAFETY: c_cc is an array of bytes, longer than any of these indices.
    unsafe withUnsafeMutableBytes(of: &modes.c_cc) { characters in
      unsafe characters[Int(VINTR)] = 0
      unsafe characters[Int(VSUSP)] = 0
      unsafe characters[Int(VMIN)] = 1
      unsafe characters[Int(VTIME)] = 0
    }
    // SAFETY: the structure is a copy of one that tcgetattr filled in.
    guard unsafe tcsetattr(STDIN_FILENO, TCSADRAIN, &modes) == 0 else { return nil }
  }

  func restore() {
    var modes = before
    // SAFETY: as above.
    _ = unsafe tcsetattr(STDIN_FILENO, TCSADRAIN, &modes)
  }
}
