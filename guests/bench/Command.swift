import LibOS

/// One line of input: a row and how often its operation is to be done.
struct Command {
  let row: String
  let count: UInt64

  /// The next command; nil at the end of the input.
  static func read() -> Command? {
    var buffer = (0..<64).map { _ in UInt8(0) }
    let length = buffer.withUnsafeMutableBytes { bytes in (try? Exocall.consoleRead(bytes)) ?? 0 }
    guard length > 0 else { return nil }
    let words = buffer[..<length].split { $0 == 0x20 || $0 == 0x0a }
    guard words.count == 2 else { return nil }
    var count: UInt64 = 0
    for digit in words[1] { count = count &* 10 &+ UInt64(digit &- 0x30) }
    return Command(row: String(decoding: words[0], as: UTF8.self), count: count)
  }
}
