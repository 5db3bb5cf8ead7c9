import Exo
import Glibc
import JSONText

/// A connection to a machine's control socket (docs/control.md), as a client has it.
final class ControlConnection {
  let machine: String
  let descriptor: Int32
  private var input: [UInt8] = []
  private var scanned = 0
  private var taken = 0
  private(set) var hasEnded = false
  /// A snapshot of 10,000 environments has 4 MB.
  private static let lineLimit = 64 << 20

  init(_ machine: String, _ descriptor: Int32) {
    self.machine = machine
    self.descriptor = descriptor
    // A machine that does not answer is told of; it must not keep us.
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    unsafe _ = setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }
  deinit { close(descriptor) }

  func send(_ members: [(name: String, value: JSON)]) throws(Failure) {
    let text = JSON.members([("exo", .number(1))] + members).line + "\n"
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
      // The slice lies within the array.
      let count = unsafe bytes.withUnsafeBytes {
        unsafe Glibc.send(
          descriptor, $0.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
      }
      if count < 0, errno == EINTR { continue }
      // Turned away: what was said about it is still there to be read.
      if count < 0, errno == EPIPE || errno == ECONNRESET { return }
      guard count > 0 else { throw gone }
      done += count
    }
  }

  /// The next whole line that has arrived, without its line feed; nil if there is none.
  func nextLine() -> ArraySlice<UInt8>? {
    guard let end = input[scanned...].firstIndex(of: 0x0a) else {
      if taken > 0 { input.removeFirst(taken) }
      taken = 0
      scanned = input.count
      return nil
    }
    defer {
      taken = end + 1
      scanned = taken
    }
    return input[taken..<end]
  }

  /// Takes in what has arrived, and waits for it first: at most so many milliseconds.
  func receive(waiting milliseconds: Int32) throws(Failure) {
    guard !hasEnded, ControlWait.until([descriptor], milliseconds: milliseconds).contains(descriptor) else {
      return
    }
    let start = input.count
    guard start < Self.lineLimit else { throw Failure(.usage, "machine \(machine) says too much at once") }
    input += [UInt8](repeating: 0, count: 262_144)
    let count = unsafe input.withUnsafeMutableBytes {
      // Writes within the part just added.
      unsafe recv(descriptor, $0.baseAddress! + start, 262_144, Int32(MSG_DONTWAIT))
    }
    let code = errno
    input.removeLast(262_144 - max(0, count))
    if count == 0 || (count < 0 && code != EAGAIN && code != EINTR) { hasEnded = true }
  }

  var gone: Failure { Failure(.usage, "machine \(machine) has ended") }
}

enum ControlWait {
  /// Those of the descriptors that have something, or have ended.
  static func until(_ descriptors: [Int32], milliseconds: Int32) -> Set<Int32> {
    var entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    // As many entries as it is told.
    _ = unsafe poll(&entries, nfds_t(entries.count), milliseconds)
    return Set(entries.filter { $0.revents != 0 }.map(\.fd))
  }
}
