import Glibc

/// A bar on standard error, on a terminal only, which leaves nothing behind.
struct ProgressBar {
  private let total: Int
  private var done = 0
  private let shown = isatty(STDERR_FILENO) == 1 && hostVariable("TERM") != "dumb"

  init(total: Int) { self.total = total }

  /// Begins the next piece of work.
  mutating func step(_ what: String) {
    let width = 30
    let full = total > 0 ? done * width / total : 0
    let bar = String(repeating: "#", count: full) + String(repeating: ".", count: width - full)
    show("\r\u{1b}[K[\(bar)] \(done)/\(total) \(what)")
    done += 1
  }
  func finish() { show("\r\u{1b}[K") }

  private func show(_ text: String) {
    if shown { StandardStreams.write(text, to: STDERR_FILENO) }
  }
}

/// Seconds of the monotonic clock.
func monotonicSeconds() -> Double {
  var now = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &now)
  return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}
