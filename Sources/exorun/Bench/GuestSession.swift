import BenchKit
import BenchSupport
import Exo
import Glibc

/// One environment of the benchmark's guest with pipes to its console.
final class GuestSession {
  let environment: Environment
  private let input: Pipe
  private let output: Pipe
  private var pending: [UInt8] = []
  /// When `launch` was called: the pipes are no part of it.
  let launched: Double

  /// Longest to wait for a line, in milliseconds.
  private static let patience: CInt = 20_000

  /// Launches the guest.
  init(
    _ machine: Machine, _ image: GuestImage, arguments: [String], variables: [String] = [],
    provisions: [(variable: String, bytes: [UInt8])] = [], isOnNetwork: Bool = false
  ) throws(SampleError) {
    input = try Pipe()
    output = try Pipe()
    launched = monotonicNanoseconds()
    do throws(LaunchError) {
      environment = try machine.launch(
        image, arguments: arguments, variables: variables, provisions: provisions,
        console: Console(input: .descriptor(input.readEnd), output: .descriptor(output.writeEnd)),
        isOnNetwork: isOnNetwork)
    } catch { throw .failed("\(error)") }
  }

  /// Sends a command; what the guest answers.
  func ask(_ command: String) throws(SampleError) -> String {
    try tell(command)
    return try line()
  }
  /// Sends a command without waiting for its answer.
  func tell(_ command: String) throws(SampleError) { try input.write(command) }

  /// The next line the guest writes.
  func line() throws(SampleError) -> String {
    while true {
      if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: pending[..<end], as: UTF8.self)
        pending.removeSubrange(...end)
        return line
      }
      guard let bytes = try output.read(patience: Self.patience) else {
        environment.kill()
        throw .failed("no answer from the guest")
      }
      pending += bytes
    }
  }

  /// Ends its input, which ends the guest.
  func close() { input.closeWriteEnd() }
}

/// A pipe of the host. Both ends stay open as long as it lives, for the machine may still look at them.
final class Pipe {
  let readEnd: Int32
  let writeEnd: Int32
  private var isWritable = true

  init() throws(SampleError) {
    var ends: (Int32, Int32) = (-1, -1)
    let result = unsafe withUnsafeMutableBytes(of: &ends) {
      unsafe pipe($0.assumingMemoryBound(to: Int32.self).baseAddress)
    }
    guard result == 0 else { throw .unavailable("no pipe: errno \(errno)") }
    (readEnd, writeEnd) = ends
    _ = fcntl(readEnd, F_SETFD, FD_CLOEXEC)
    _ = fcntl(writeEnd, F_SETFD, FD_CLOEXEC)
  }
  deinit {
    Glibc.close(readEnd)
    closeWriteEnd()
  }

  func write(_ text: String) throws(SampleError) {
    var text = text
    let written = text.withUTF8 { unsafe Glibc.write(writeEnd, $0.baseAddress, $0.count) }
    guard written == text.utf8.count else { throw .failed("the guest's input is closed") }
  }
  /// What has come, once something has; nil after `patience` milliseconds or at the end.
  func read(patience: CInt) throws(SampleError) -> [UInt8]? {
    var waiting = pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&waiting, 1, patience) == 1 else { return nil }
    var block = [UInt8](repeating: 0, count: 4096)
    let count = unsafe Glibc.read(readEnd, &block, block.count)
    return count > 0 ? Array(block[..<count]) : nil
  }
  func closeWriteEnd() {
    if isWritable { Glibc.close(writeEnd) }
    isWritable = false
  }
}
