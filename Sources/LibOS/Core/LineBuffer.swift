/// Bytes that have come in and are waiting to be taken, by line or as they are.
struct LineBuffer {
  private var bytes: [UInt8] = []
  private var start = 0
  /// Everything before this has been searched for an end of line.
  private var searched = 0

  var isEmpty: Bool { start == bytes.count }

  mutating func append(_ new: UnsafeRawBufferPointer) {
    // What was taken is dropped when it is the larger part, so that each byte moves once on average.
    if start > bytes.count / 2 {
      bytes.removeFirst(start)
      searched -= start
      start = 0
    }
    bytes.append(contentsOf: new)
  }

  /// The first line, its newline included; nil if none is complete.
  mutating func takeLine() -> ArraySlice<UInt8>? {
    while searched < bytes.count {
      searched += 1
      if bytes[searched - 1] == 0x0a { return take(searched - start) }
    }
    return nil
  }

  /// All that is there.
  mutating func takeRest() -> ArraySlice<UInt8> { take(bytes.count - start) }

  /// Moves as many bytes as are there and fit.
  mutating func take(into out: UnsafeMutableRawBufferPointer) -> Int {
    let taken = take(min(out.count, bytes.count - start))
    out.copyBytes(from: taken)
    return taken.count
  }

  private mutating func take(_ count: Int) -> ArraySlice<UInt8> {
    let taken = bytes[start..<(start + count)]
    start += count
    searched = max(searched, start)
    return taken
  }
}
