import Glibc

/// Standard input, output and error, used as any Unix tool does.
enum StandardStreams {
  /// Where a standard descriptor is closed, something that fails as a closed one does takes its place: a file opened
  /// later must not be taken for it.
  static func occupy() {
    for number in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(number, F_GETFD) < 0 {
      // The lowest number is free, so `open` gives it. Opened the wrong way round, each use says EBADF.
      _ = unsafe open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  /// Writes all of a text to standard output, or ends the program: what was asked for did not arrive.
  static func write(_ text: String) { write(Array(text.utf8)) }

  /// The same for bytes.
  static func write(_ bytes: [UInt8]) {
    let code = write(bytes, to: STDOUT_FILENO)
    guard code != 0 else { return }
    complain("standard output: \(errorText(code))")
    exit(ExitStatus.usage.code)
  }

  /// One line on standard error.
  static func complain(_ line: String) { _ = write("exorun: \(line)\n", to: STDERR_FILENO) }

  /// Writes all of a text, in as few writes as it takes. Returns 0 or an errno.
  @discardableResult
  static func write(_ text: String, to descriptor: Int32) -> Int32 {
    write(Array(text.utf8), to: descriptor)
  }

  /// The same for bytes.
  @discardableResult
  static func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    var done = 0
    while done < bytes.count {
      // The slice lies within the array.
      let count = unsafe bytes.withUnsafeBytes {
        unsafe Glibc.write(descriptor, $0.baseAddress! + done, bytes.count - done)
      }
      if count < 0 {
        if errno == EINTR { continue }
        guard errno == EAGAIN else { return errno }
        // Somebody made it a descriptor that does not wait.
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&entry, 1, -1)
        continue
      }
      done += count
    }
    return 0
  }
}

/// The host's words for an errno.
func errorText(_ code: Int32) -> String {
  // `strerror` returns a C string for every number.
  unsafe String(cString: strerror(code))
}

/// A variable of exorun's own environment.
func hostVariable(_ name: String) -> String? {
  guard let value = unsafe getenv(name) else { return nil }
  // The environment is not changed while exorun runs.
  return unsafe String(cString: value)
}
