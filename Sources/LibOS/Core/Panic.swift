#if hasFeature(Embedded)
  nonisolated(unsafe) private var panicking = false

  /// Exit status of a panic: the one shells give for an abort.
  public let panicStatus: Int32 = 134

  /// Says what went wrong and where, and ends this environment. It needs no heap.
  public func panic(
    _ message: StaticString, file: StaticString = #fileID, line: Int = #line
  ) -> Never {
    // The way out may itself be what is broken.
    if panicking { Exocall.exit(panicStatus) }
    panicking = true
    Console.put("panic: ")
    Console.put(message)
    Console.put(" (")
    Console.put(file)
    Console.put(":")
    Console.put(decimal: UInt64(line))
    Console.put(")\n")
    exit(panicStatus)
  }
#endif
