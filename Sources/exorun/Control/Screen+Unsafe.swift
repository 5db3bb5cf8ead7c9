import CKVM
import Glibc
import Synchronization

/// A terminal's alternate screen, without echo and line editing, until `restore`. Signals by key go on working, save the
/// one that would stop this process with the terminal in its hands.
@safe final class Screen: @unchecked Sendable {
  // Invariant: written before the object is shared; `restore` acts once, whichever thread calls it first.
  private var before = termios()
  private let changesModes: Bool
  private let isUp = Atomic<Bool>(true)

  init() {
    let known = unsafe tcgetattr(STDIN_FILENO, &before)
    changesModes = isatty(STDIN_FILENO) == 1 && known == 0
    if changesModes {
      var modes = before
      modes.c_lflag &= ~tcflag_t(ICANON | ECHO)
      modes.c_cc.10 = 0  // VSUSP: no character
      unsafe _ = tcsetattr(STDIN_FILENO, TCSANOW, &modes)
    }
    // Alternate screen, no cursor, no wrapping.
    StandardStreams.write("\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l", to: STDOUT_FILENO)
  }

  func restore() {
    guard isUp.exchange(false, ordering: .sequentiallyConsistent) else { return }
    StandardStreams.write("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l", to: STDOUT_FILENO)
    if changesModes { unsafe _ = tcsetattr(STDIN_FILENO, TCSADRAIN, &before) }
  }

  /// Rows and columns; what terminals once had if it does not say.
  var size: (rows: Int, columns: Int) {
    var (rows, columns) = (CInt(0), CInt(0))
    // Writes two numbers.
    guard unsafe ckvm_terminal_size(STDOUT_FILENO, &rows, &columns) >= 0, rows > 0, columns > 0 else {
      return (24, 80)
    }
    return (Int(rows), Int(columns))
  }

  /// Shows lines from the top; each must fit.
  func draw(_ lines: [String]) {
    guard isUp.load(ordering: .sequentiallyConsistent) else { return }
    let text = lines.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n")
    StandardStreams.write("\u{1b}[H" + text + "\u{1b}[J", to: STDOUT_FILENO)
  }

  /// Keys that were pressed.
  static func keys() -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: 64) { buffer, count in
      // Initialises as many bytes as it returns.
      count = max(0, unsafe read(STDIN_FILENO, buffer.baseAddress, buffer.count))
    }
  }
}
