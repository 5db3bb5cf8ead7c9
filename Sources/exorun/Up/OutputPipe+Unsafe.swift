import Glibc

/// A pipe within this process whose ends never block. What is written and not yet read stays within what the system
/// holds for a pipe, so a slow reader slows the writer down and nobody else.
struct OutputPipe: ~Copyable {
  let reader: Int32
  let writer: Int32

  init() throws(Failure) {
    var ends: [Int32] = [-1, -1]
    // Fills both elements.
    guard unsafe pipe(&ends) == 0 else {
      throw Failure(.usage, "no pipe could be made: \(errorText(errno))")
    }
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    (reader, writer) = (ends[0], ends[1])
  }

  deinit {
    close(reader)
    close(writer)
  }

  /// What can be read now; empty if nothing can.
  func read() -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
      // Initialises as many bytes as it returns.
      count = max(0, unsafe Glibc.read(reader, buffer.baseAddress, buffer.count))
    }
  }

  /// Puts a number into the pipe, whole or not at all.
  static func send(_ number: UInt32, to writer: Int32) {
    var number = number
    // A write this small is not divided.
    while unsafe Glibc.write(writer, &number, 4) < 0, errno == EINTR {}
  }

  /// The numbers that are in the pipe.
  func numbers() -> [UInt32] {
    let bytes = read()
    return stride(from: 0, to: bytes.count - 3, by: 4).map { at in
      (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << UInt32($1 * 8) }
    }
  }

  /// Waits until one of them can be read.
  static func wait(for readers: [Int32]) {
    var entries = readers.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    // As many entries as it is told.
    _ = unsafe poll(&entries, nfds_t(entries.count), -1)
  }
}
