import ExoABI
import Glibc
import Synchronization
import Testing

@testable import Exo

/// Console requests over real pipes.
@Suite struct ConsoleTests {
  /// A pipe whose ends are closed with it, or before.
  final class Pipe {
    let readEnd: Int32
    let writeEnd: Int32
    private var open: Set<Int32>

    init(capacity: Int32 = 4096) throws {
      var ends: [Int32] = [0, 0]
      let made = pipe(&ends)
      (readEnd, writeEnd) = (ends[0], ends[1])
      open = [readEnd, writeEnd]
      try #require(made == 0)
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      let setPipeSize: Int32 = 1031  // F_SETPIPE_SZ
      try #require(fcntl(writeEnd, setPipeSize, capacity) >= capacity)
    }
    deinit { for end in open { Glibc.close(end) } }
    func close(_ end: Int32) {
      if open.remove(end) != nil { Glibc.close(end) }
    }
    func fill(_ count: Int) {
      let bytes = [UInt8](repeating: 0x2e, count: count)
      #expect(Glibc.write(writeEnd, bytes, count) == count)
    }
    func drain(_ count: Int) -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: count)
      let found = Glibc.read(readEnd, &bytes, count)
      return Array(bytes.prefix(max(found, 0)))
    }
  }

  /// The queue as an object that expectations can call.
  private final class Queue {
    private var queue: ConsoleQueue
    init(_ console: Console) { queue = ConsoleQueue(console) }
    var isIdle: Bool { queue.isIdle }
    var interests: [pollfd] { queue.interests }
    func write(tag: UInt64, _ bytes: [UInt8]) { queue.write(tag: tag, bytes) }
    func read(tag: UInt64, into address: GuestAddress, length: Int) throws(Refusal) {
      try queue.read(tag: tag, into: address, length: length)
    }
    func advance() -> [ConsoleQueue.Answer] { queue.advance() }
  }

  private func results(_ answers: [ConsoleQueue.Answer]) -> [Int64] {
    answers.compactMap { if case .result(_, let result) = $0 { result } else { nil } }
  }
  private func tags(_ answers: [ConsoleQueue.Answer]) -> [UInt64] {
    answers.map { answer in
      switch answer {
      case .result(let tag, _): tag
      case .bytes(let tag, _, _): tag
      }
    }
  }
  private func bytes(_ answers: [ConsoleQueue.Answer]) -> [[UInt8]] {
    answers.compactMap { if case .bytes(_, _, let bytes) = $0 { bytes } else { nil } }
  }

  // --- writing

  @Test func writesGoOutInOrder() throws {
    let pipe = try Pipe(capacity: 1 << 16)
    let queue = Queue(Console(output: .descriptor(pipe.writeEnd)))
    #expect(queue.isIdle && queue.interests.isEmpty)
    for i in 0..<10 as Range<UInt64> { queue.write(tag: i, Array("line \(i)\n".utf8)) }
    #expect(!queue.isIdle)
    let answers = queue.advance()
    #expect(tags(answers) == Array(0..<10) && results(answers) == Array(repeating: 7, count: 10))
    #expect(queue.isIdle)
    let expected = (0..<10).map { "line \($0)\n" }.joined()
    #expect(String(decoding: pipe.drain(1000), as: UTF8.self) == expected)
  }

  @Test func fullPipeWaits() throws {
    let pipe = try Pipe(capacity: 8192)
    pipe.fill(8192)
    let queue = Queue(Console(output: .descriptor(pipe.writeEnd)))
    queue.write(tag: 1, [1, 2, 3])
    queue.write(tag: 2, [4])
    #expect(queue.advance().isEmpty && !queue.isIdle)
    let interests = queue.interests
    #expect(interests.map(\.fd) == [pipe.writeEnd] && interests.first?.events == Int16(POLLOUT))
    // It is not a matter of asking often enough.
    #expect(queue.advance().isEmpty)
    #expect(pipe.drain(8192).count == 8192)
    let answers = queue.advance()
    #expect(tags(answers) == [1, 2] && results(answers) == [3, 1])
    #expect(pipe.drain(10) == [1, 2, 3, 4])
    #expect(queue.interests.isEmpty)
  }

  /// A descriptor that takes a part of it: the answer says how much, and nothing is written twice.
  @Test func partialWrite() throws {
    let pipe = try Pipe(capacity: 8192)
    _ = fcntl(pipe.writeEnd, F_SETFL, O_NONBLOCK)
    // One of two buffers is free; a write across its end cannot be whole.
    pipe.fill(4096)
    let queue = Queue(Console(output: .descriptor(pipe.writeEnd)))
    let sent = (0..<6000).map { UInt8(truncatingIfNeeded: $0) }
    queue.write(tag: 9, sent)
    let answers = queue.advance()
    let taken = try #require(results(answers).first)
    #expect(taken > 0 && taken < 6000)
    #expect(queue.isIdle)
    let piled = pipe.drain(8192)
    #expect(Array(piled.dropFirst(4096)) == Array(sent.prefix(Int(taken))))
  }

  /// A reader that has gone: EPIPE, and the program that runs the machine lives on.
  @Test(.timeLimit(.minutes(1))) func closedReader() async throws {
    let pipe = try Pipe()
    pipe.close(pipe.readEnd)
    let descriptor = pipe.writeEnd
    let found = Mutex<[Int64]>([])
    // As it is served: on one of the machine's threads.
    try await LatchTests.onThreads([
      {
        let queue = Queue(Console(output: .descriptor(descriptor)))
        queue.write(tag: 1, [1])
        queue.write(tag: 2, [2])
        for answer in queue.advance() {
          if case .result(_, let result) = answer { found.withLock { $0.append(result) } }
        }
      }
    ])
    #expect(found.withLock { $0 } == [-Int64(EXO_EPIPE), -Int64(EXO_EPIPE)])
    pipe.close(descriptor)
  }

  @Test func closedDescriptor() throws {
    let pipe = try Pipe()
    pipe.close(pipe.writeEnd)
    let queue = Queue(Console(output: .descriptor(pipe.writeEnd)))
    queue.write(tag: 1, [1])
    #expect(results(queue.advance()) == [-Int64(EXO_EIO)])
  }

  @Test func handlerAndDiscard() {
    final class Sink: Sendable {
      let pieces = Mutex<[[UInt8]]>([])
    }
    let sink = Sink()
    let queue = Queue(Console(output: .handler { piece in sink.pieces.withLock { $0.append(piece) } }))
    queue.write(tag: 1, [1, 2])
    queue.write(tag: 2, [])
    queue.write(tag: 3, [3])
    #expect(results(queue.advance()) == [2, 0, 1])
    #expect(sink.pieces.withLock { $0 } == [[1, 2], [], [3]])
    let discarding = Queue(Console())
    discarding.write(tag: 1, [UInt8](repeating: 0, count: 4096))
    #expect(results(discarding.advance()) == [4096])
  }

  // --- reading

  private static let address = GuestAddress(0x40_0000)

  @Test func readWaitsForBytes() throws {
    let pipe = try Pipe()
    let queue = Queue(Console(input: .descriptor(pipe.readEnd)))
    try queue.read(tag: 5, into: Self.address, length: 100)
    #expect(queue.advance().isEmpty && !queue.isIdle)
    #expect(queue.interests.map(\.fd) == [pipe.readEnd])
    #expect(queue.interests.first?.events == Int16(POLLIN))
    #expect(throws: Refusal.busy) { try queue.read(tag: 6, into: Self.address, length: 1) }
    pipe.fill(3)
    guard case .bytes(5, Self.address, let bytes)? = queue.advance().first else {
      Issue.record("no bytes")
      return
    }
    #expect(bytes == [0x2e, 0x2e, 0x2e])
    #expect(queue.isIdle)
    try queue.read(tag: 6, into: Self.address, length: 1)
  }

  @Test func readTakesNoMoreThanAsked() throws {
    let pipe = try Pipe()
    pipe.fill(10)
    let queue = Queue(Console(input: .descriptor(pipe.readEnd)))
    for expected in [4, 4, 2] {
      try queue.read(tag: 1, into: Self.address, length: 4)
      #expect(bytes(queue.advance()).map(\.count) == [expected])
    }
    try queue.read(tag: 1, into: Self.address, length: 4)
    #expect(queue.advance().isEmpty)
  }

  /// The writer has gone: what is left is read first, then the end, again and again.
  @Test func endOfInput() throws {
    let pipe = try Pipe()
    pipe.fill(2)
    pipe.close(pipe.writeEnd)
    let queue = Queue(Console(input: .descriptor(pipe.readEnd)))
    for expected in [2, 0, 0] {
      try queue.read(tag: 1, into: Self.address, length: 8)
      #expect(bytes(queue.advance()).map(\.count) == [expected])
    }
  }

  @Test func inputThatIsNoDescriptor() throws {
    let empty = Queue(Console(input: .empty))
    try empty.read(tag: 1, into: Self.address, length: 8)
    #expect(results(empty.advance()) == [0])
    let given = Queue(Console(input: .bytes([1, 2, 3, 4, 5])))
    for expected in [[1, 2], [3, 4], [5], [], []] as [[UInt8]] {
      try given.read(tag: 1, into: Self.address, length: 2)
      #expect(bytes(given.advance()) == [expected])
    }
    let pipe = try Pipe()
    pipe.close(pipe.readEnd)
    let closed = Queue(Console(input: .descriptor(pipe.readEnd)))
    try closed.read(tag: 1, into: Self.address, length: 8)
    #expect(results(closed.advance()) == [-Int64(EXO_EIO)])
  }

  @Test func readOfNothing() throws {
    let pipe = try Pipe()
    pipe.fill(1)
    let queue = Queue(Console(input: .descriptor(pipe.readEnd)))
    try queue.read(tag: 1, into: Self.address, length: 0)
    #expect(bytes(queue.advance()) == [[]])
    #expect(pipe.drain(4).count == 1)
  }

  /// A read that waits does not hold up writes, nor the other way round.
  @Test func directionsAreApart() throws {
    let (input, output) = (try Pipe(), try Pipe())
    output.fill(4096)
    let queue = Queue(
      Console(input: .descriptor(input.readEnd), output: .descriptor(output.writeEnd)))
    queue.write(tag: 1, [1])
    try queue.read(tag: 2, into: Self.address, length: 1)
    #expect(queue.advance().isEmpty)
    #expect(Set(queue.interests.map(\.fd)) == [input.readEnd, output.writeEnd])
    input.fill(1)
    #expect(tags(queue.advance()) == [2])
    try queue.read(tag: 3, into: Self.address, length: 1)
    _ = output.drain(4096)
    #expect(tags(queue.advance()) == [1])
    #expect(queue.interests.map(\.fd) == [input.readEnd])
  }
}
