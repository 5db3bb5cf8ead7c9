#if hasFeature(Embedded)
  extension Console {
    nonisolated(unsafe) private static var lines = LineBuffer()

    /// Reads bytes as they come, waiting for the first; 0 at the end of the input.
    /// - Throws: see `Exocall.consoleRead`.
    public static func read(into out: UnsafeMutableRawBufferPointer) throws(ExocallError) -> Int {
      flush()
      if !lines.isEmpty { return lines.take(into: out) }
      return try receive(out)
    }

    /// Reads one line; nil at the end of the input. Bytes that are not UTF-8 are replaced.
    /// - Throws: see `Exocall.consoleRead`.
    public static func readLine(strippingNewline: Bool = true) throws(ExocallError) -> String? {
      flush()
      while true {
        if let line = lines.takeLine() {
          return String(decoding: strippingNewline ? line.dropLast() : line, as: UTF8.self)
        }
        if try !fill() {
          return lines.isEmpty ? nil : String(decoding: lines.takeRest(), as: UTF8.self)
        }
      }
    }

    private static func receive(_ out: UnsafeMutableRawBufferPointer) throws(ExocallError) -> Int {
      if let input { return input(out) }
      return try Exocall.consoleRead(out)
    }

    /// Waits for more input; false at its end.
    private static func fill() throws(ExocallError) -> Bool {
      let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
      defer { chunk.deallocate() }
      let count = try receive(chunk)
      lines.append(UnsafeRawBufferPointer(rebasing: chunk[..<count]))
      return count > 0
    }
  }
#endif
