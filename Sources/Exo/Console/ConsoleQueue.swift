import CKVM
import Glibc

/// The console requests of one environment that could not be answered at once, in order. At most one read waits;
/// writes keep the bytes they were given.
///
/// A descriptor is only touched when `poll` says that it will not block; a write of at most 4,096 bytes then does not.
struct ConsoleQueue: ~Copyable {
  private let console: Console
  private var inputConsumed = 0
  private var read: (tag: UInt64, address: GuestAddress, length: Int)?
  private var writes: [(tag: UInt64, bytes: [UInt8])] = []
  /// The errno of the first write that failed; 0 if none did.
  private(set) var writeError: Int32 = 0

  init(_ console: Console) { self.console = console }

  enum Answer {
    /// This many bytes of a write were taken, or the read's end of input, or an errno as a negative number.
    case result(tag: UInt64, Int64)
    case bytes(tag: UInt64, GuestAddress, [UInt8])
  }

  var isIdle: Bool { read == nil && writes.isEmpty }

  /// What to wait for with poll: nothing if nothing is pending.
  var interests: [pollfd] {
    var wanted: [pollfd] = []
    if read != nil, case .descriptor(let fd) = console.input {
      wanted.append(pollfd(fd: fd, events: Int16(POLLIN), revents: 0))
    }
    if !writes.isEmpty, case .descriptor(let fd) = console.output {
      wanted.append(pollfd(fd: fd, events: Int16(POLLOUT), revents: 0))
    }
    return wanted
  }

  /// Queues a write.
  mutating func write(tag: UInt64, _ bytes: [UInt8]) { writes.append((tag, bytes)) }

  /// Queues a read; refused while another waits.
  mutating func read(tag: UInt64, into address: GuestAddress, length: Int) throws(Refusal) {
    guard read == nil else { throw .busy }
    read = (tag, address, length)
  }

  /// Does what can be done now without blocking and returns the answers.
  mutating func advance() -> [Answer] {
    var answers: [Answer] = []
    while let write = writes.first, let answer = advance(write) {
      writes.removeFirst()
      answers.append(answer)
    }
    if let pending = read, let answer = advance(pending) {
      read = nil
      answers.append(answer)
    }
    return answers
  }

  private mutating func advance(_ write: (tag: UInt64, bytes: [UInt8])) -> Answer? {
    switch console.output {
    case .discard: return .result(tag: write.tag, Int64(write.bytes.count))
    case .handler(let handler):
      handler(write.bytes)
      return .result(tag: write.tag, Int64(write.bytes.count))
    case .descriptor(let fd):
      guard Self.isReady(fd, POLLOUT) else { return nil }
      let count = unsafe write.bytes.withUnsafeBytes { unsafe Glibc.write(fd, $0.baseAddress, $0.count) }
      if count < 0 {
        let code = errno
        if code == EAGAIN || code == EINTR { return nil }
        if writeError == 0 { writeError = code }
        if code == EPIPE { console.whenBroken?() }
        return .result(tag: write.tag, Int64(code == EPIPE ? -EPIPE : -EIO))
      }
      return .result(tag: write.tag, Int64(count))
    }
  }

  private mutating func advance(_ read: (tag: UInt64, address: GuestAddress, length: Int)) -> Answer? {
    switch console.input {
    case .empty: return .result(tag: read.tag, 0)
    case .bytes(let bytes):
      let piece = bytes[inputConsumed...].prefix(read.length)
      inputConsumed += piece.count
      return .bytes(tag: read.tag, read.address, Array(piece))
    case .descriptor(let fd):
      guard Self.isReady(fd, POLLIN) else { return nil }
      var bytes = [UInt8](repeating: 0, count: read.length)
      let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(fd, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EAGAIN || errno == EINTR { return nil }
        return .result(tag: read.tag, Int64(-EIO))
      }
      bytes.removeSubrange(count...)
      return .bytes(tag: read.tag, read.address, bytes)
    }
  }

  /// A closed or failed descriptor counts as ready: the call then says what is wrong.
  private static func isReady(_ fd: Int32, _ events: Int32) -> Bool {
    var entry = pollfd(fd: fd, events: Int16(events), revents: 0)
    return unsafe poll(&entry, 1, 0) > 0
  }
}
