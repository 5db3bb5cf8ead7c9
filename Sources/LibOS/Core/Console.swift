#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// Standard output and input. What is printed leaves at each end of line, when the buffer is full, before
  /// input is read and at exit.
  public enum Console {
    nonisolated(unsafe) static var held = 0
    /// The first error that lost something printed. `exit` makes a failure of it, as a Unix tool does when it closes
    /// its standard output; `write` reports its own.
    public nonisolated(unsafe) private(set) static var lost: ExocallError?

    /// Where what is printed goes instead of the console; returns how many bytes it took.
    public nonisolated(unsafe) static var output: ((UnsafeRawBufferPointer) throws(ExocallError) -> Int)?
    /// Where what is said of errors goes, if not where the output goes.
    public nonisolated(unsafe) static var errors: ((UnsafeRawBufferPointer) throws(ExocallError) -> Int)?
    /// Where input comes from instead; 0 at its end.
    public nonisolated(unsafe) static var input: ((UnsafeMutableRawBufferPointer) -> Int)?

    /// Writes out what is held. An error loses it, and is kept in `lost`.
    public static func flush() {
      let count = held
      held = 0
      guard count > 0 else { return }
      do throws(ExocallError) {
        try writeOut(UnsafeRawBufferPointer(start: exo_output_buffer(), count: count))
      } catch {
        if lost == nil { lost = error }
      }
    }

    /// Writes bytes after all that was printed before, without buffering.
    /// - Throws: see `Exocall.consoleWrite`.
    public static func write(_ bytes: UnsafeRawBufferPointer) throws(ExocallError) {
      flush()
      try writeOut(bytes)
    }

    /// Says what went wrong, a line of its own: on standard error, after all that was printed before.
    public static func complain(_ text: String) {
      flush()
      var line = Array(text.utf8)
      line.append(0x0a)
      line.withUnsafeBytes { bytes in
        do throws(ExocallError) {
          guard let errors else { return try writeOut(bytes) }
          var rest = bytes[...]
          while !rest.isEmpty { rest = rest.dropFirst(try errors(UnsafeRawBufferPointer(rebasing: rest))) }
        } catch { if lost == nil { lost = error } }
      }
    }

    private static func writeOut(_ bytes: UnsafeRawBufferPointer) throws(ExocallError) {
      var rest = bytes[...]
      while !rest.isEmpty {
        let piece = UnsafeRawBufferPointer(rebasing: rest)
        let count = if let output { try output(piece) } else { try Exocall.consoleWrite(piece) }
        rest = rest.dropFirst(count)
      }
    }

    @inline(__always)
    static func put(_ byte: UInt8) {
      exo_output_buffer().storeBytes(of: byte, toByteOffset: held, as: UInt8.self)
      held += 1
      if byte == 0x0a || held == EXO_OUTPUT_BUFFER_SIZE { flush() }
    }

    /// Prints without a heap.
    static func put(_ string: StaticString) {
      string.withUTF8Buffer { for byte in $0 { put(byte) } }
    }

    /// Prints a number without a heap.
    static func put(decimal number: UInt64) {
      if number >= 10 { put(decimal: number / 10) }
      put(UInt8(0x30 + number % 10))
    }
  }

  @c(exo_guest_put)
  func putByte(_ byte: UInt8) { Events.masked { Console.put(byte) } }
#endif
