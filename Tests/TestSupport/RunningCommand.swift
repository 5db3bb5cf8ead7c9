import Glibc

/// A command that has been started. Whatever happens, its process is gone when this object is.
public final class RunningCommand {
  public let process: pid_t
  private let deadline: ContinuousClock.Instant
  /// Our ends: a pipe's, or for a terminal its master as both.
  private var input: Int32
  private var output: Int32
  private var errors: Int32
  private let terminal: Int32
  private let closesInput: Bool
  private var pending: ArraySlice<UInt8>
  private var captured: (output: [UInt8], errors: [UInt8]) = ([], [])
  private var ended: CommandResult.Status?

  init(_ command: Command) throws(CommandError) {
    deadline = ContinuousClock.now + command.limit
    let streams = try ChildStreams(command)
    defer { streams.closeChildEnds() }
    (input, output, errors, terminal) = (streams.input, streams.output, streams.errors, streams.terminal)
    if case .text(let text) = command.input { pending = Array(text.utf8)[...] } else { pending = [] }
    if case .waiting = command.input { closesInput = false } else { closesInput = true }
    process = try spawn(command, streams)
  }

  deinit {
    if ended == nil {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
    for descriptor in Set([input, output, errors, terminal]) where descriptor >= 0 { close(descriptor) }
  }

  /// Sends a signal to it alone.
  public func signal(_ number: Int32) { kill(process, number) }

  /// Types at its terminal.
  public func enter(_ text: String) {
    let bytes = Array(text.utf8)
    _ = write(terminal, bytes, bytes.count)
  }

  /// Modes of its terminal.
  public var terminalModes: [UInt32] {
    var modes = termios()
    tcgetattr(terminal, &modes)
    return [modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag]
  }

  /// Reads until its output contains a text; false if it ended, or its limit came, before that.
  public func waitForOutput(_ text: String) -> Bool {
    waitForOutput { $0.contains(text) }
  }

  /// Reads until its output contains a text and, anywhere after it, another.
  public func waitForOutput(_ text: String, andThen next: String) -> Bool {
    waitForOutput { output in
      guard let found = output.firstRange(of: text) else { return false }
      return output[found.upperBound...].contains(next)
    }
  }

  private func waitForOutput(_ isEnough: (String) -> Bool) -> Bool {
    while !isEnough(String(decoding: captured.output, as: UTF8.self)) {
      guard ended == nil, ContinuousClock.now < deadline else { return false }
      step()
    }
    return true
  }

  /// Processor time of all its threads so far, in ticks of which there are 100 a second.
  public var processorTicks: Int {
    guard let text = readText("/proc/\(process)/stat"), let end = text.lastIndex(of: ")") else { return 0 }
    let fields = text[end...].split(separator: " ")
    return (Int(fields[12]) ?? 0) + (Int(fields[13]) ?? 0)
  }

  /// Whether it was still running when last looked at.
  public var isAlive: Bool { ended == nil && kill(process, 0) == 0 }

  /// Waits for its end.
  public func finish() -> CommandResult {
    while ended == nil {
      if ContinuousClock.now > deadline {
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
        ended = .overran
      } else {
        step()
      }
    }
    while read(&output, into: &captured.output) {}
    while read(&errors, into: &captured.errors) {}
    return CommandResult(
      status: ended ?? .overran, output: String(decoding: captured.output, as: UTF8.self),
      errors: String(decoding: captured.errors, as: UTF8.self))
  }

  /// Moves what can be moved, and waits a moment if nothing can.
  private func step() {
    feed()
    var entries = [output, errors].filter { $0 >= 0 }.map {
      pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
    }
    if input >= 0, !pending.isEmpty { entries.append(pollfd(fd: input, events: Int16(POLLOUT), revents: 0)) }
    poll(&entries, nfds_t(entries.count), 10)
    _ = read(&output, into: &captured.output)
    _ = read(&errors, into: &captured.errors)
    var status: Int32 = 0
    guard waitpid(process, &status, WNOHANG) == process else { return }
    ended = status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .signalled(status & 0x7f)
  }

  private func feed() {
    guard input >= 0, terminal < 0 else { return }
    if !pending.isEmpty {
      let count = pending.withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
      if count > 0 { pending = pending.dropFirst(count) } else if errno != EAGAIN { pending = [] }
    }
    if pending.isEmpty, closesInput {
      close(input)
      input = -1
    }
  }

  /// Returns whether there was anything.
  private func read(_ descriptor: inout Int32, into bytes: inout [UInt8]) -> Bool {
    guard descriptor >= 0 else { return false }
    var block = [UInt8](repeating: 0, count: 65536)
    let count = Glibc.read(descriptor, &block, block.count)
    if count > 0 { bytes += block[..<count] }
    // A terminal whose last user is gone says EIO.
    if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) {
      if descriptor != terminal { close(descriptor) }
      descriptor = -1
    }
    return count > 0
  }
}

/// The content of a small file.
public func readText(_ path: String) -> String? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var block = [UInt8](repeating: 0, count: 65536)
  while true {
    let count = read(descriptor, &block, block.count)
    if count <= 0 { break }
    bytes += block[..<count]
  }
  return String(decoding: bytes, as: UTF8.self)
}
