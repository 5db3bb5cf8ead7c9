#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// Standard output and input. What is printed leaves at each end of line, when the buffer is full, before
  /// input is read and at exit.
  public enum Console {
    nonisolated(unsafe) static var held = 0

    /// Writes out what is held. An error loses it: there is nowhere else to say so, and `write` reports its own.
    public static func flush() {
      let count = held
      held = 0
      if count > 0 { try? write(UnsafeRawBufferPointer(start: exo_output_buffer(), count: count)) }
    }

    /// Writes bytes after all that was printed before, without buffering.
    /// - Throws: see `Exocall.consoleWrite`.
    public static func write(_ bytes: UnsafeRawBufferPointer) throws(ExocallError) {
      flush()
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = try Exocall.consoleWrite(UnsafeRawBufferPointer(rebasing: rest))
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
  func putByte(_ byte: UInt8) { Console.put(byte) }
#endif
