import Testing

@testable import ExosIPCHost

@Suite struct PortFrameTests {
  /// A sender and a receiver on one pipe.
  private final class Line {
    let pipe = PipeFixture(capacity: 1024)
    private var producer: PipeProducer
    private var consumer: PipeConsumer
    private var framer = PortFramer()
    init() {
      producer = PipeProducer(pipe.memory)
      consumer = PipeConsumer(pipe.memory)
    }
    func send(_ text: [UInt8], id: UInt32 = 0, rights: [UInt64] = []) throws -> Bool {
      try text.withUnsafeBytes { text in try producer.offer(.message, id: id, text, rights: rights) }
    }
    /// Bytes that need be no message.
    func write(_ bytes: [UInt8]) throws {
      _ = try bytes.withUnsafeBytes { bytes in try producer.offer(bytes) }
    }
    func close() { producer.close() }
    func next() throws -> (id: UInt32, text: [UInt8], rights: [UInt64])? {
      try framer.next(from: &consumer).map { frame in
        (frame.id, Array(frame.text), (0..<frame.rightCount).map { frame.right($0) })
      }
    }
  }

  @Test func messagesComeAsTheyWereSent() throws {
    let line = Line()
    #expect(try line.next() == nil)
    var sent: [(UInt32, [UInt8], [UInt64])] = []
    var got = 0
    for turn in 0..<2000 {
      let message = (
        UInt32(turn), (0..<turn * 37 % 897).map { pattern(turn + $0) },
        (0..<turn % 5).map { UInt64(turn * $0) }
      )
      if try line.send(message.1, id: message.0, rights: message.2) { sent.append(message) }
      if turn % 3 != 0, let next = try line.next() {
        #expect(next == sent[got])
        got += 1
      }
    }
    #expect(got > 500)
  }

  @Test func whatIsTooLongIsRefused() throws {
    let line = Line()
    #expect(throws: PortError.tooLong) { try line.send([UInt8](repeating: 0, count: 897)) }
    #expect(throws: PortError.tooLong) { try line.send([], rights: [1, 2, 3, 4, 5]) }
    #expect(try line.send([UInt8](repeating: 0, count: 896), rights: [1, 2, 3, 4]))
  }

  @Test(
    arguments: [
      [0xff, 0xff, 0, 0, 0, 0, 0, 0], [0, 0, 5, 0, 0, 0, 0, 0], [0, 0, 0, 9, 0, 0, 0, 0],
      [0x81, 3, 0, 0, 0, 0, 0, 0],
    ] as [[UInt8]])
  func aHeaderThatLiesIsRefused(_ header: [UInt8]) throws {
    let line = Line()
    try line.write(header)
    #expect(throws: PortError.corrupt) { try line.next() }
  }

  @Test func theEndWithinAMessageIsNoEnd() throws {
    let line = Line()
    try line.write([4, 0, 0, 0, 0, 0, 0, 0, 1, 2])
    #expect(try line.next() == nil)
    line.close()
    #expect(throws: PortError.corrupt) { try line.next() }
    let other = Line()
    #expect(try other.send([1]))
    other.close()
    #expect(try other.next()?.text == [1])
    #expect(throws: PortError.dead) { try other.next() }
  }
}

@Suite struct NameTableTests {
  private func with<R>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try Array(name.utf8).withUnsafeBytes(body)
  }

  @Test func namesBelongToWhoRegisteredThem() throws {
    var table = NameTable(limit: 2)
    try with("a") { try table.register($0, owner: 1, right: 10) }
    try with("a") { try table.register($0, owner: 1, right: 11) }
    #expect(throws: NameTable.Failure.taken) { try with("a") { try table.register($0, owner: 2, right: 20) } }
    #expect(throws: NameTable.Failure.notOwner) { try with("a") { try table.remove($0, owner: 2) } }
    #expect(try with("a") { try table.lookUp($0) } == 11)
    try with("b") { try table.register($0, owner: 2, right: 20) }
    #expect(throws: NameTable.Failure.full) { try with("c") { try table.register($0, owner: 2, right: 21) } }
    // A right has one name, or it could be taken back with another's.
    for (name, owner) in [("a", UInt32(1)), ("c", 1), ("a", 2), ("c", 2)] {
      for right: UInt64 in [11, 20] {
        #expect(throws: NameTable.Failure.malformed) {
          try with(name) { try table.register($0, owner: owner, right: right) }
        }
      }
    }
    #expect(table.removeAll(of: 1) == [11])
    #expect(throws: NameTable.Failure.unknown) { try with("a") { try table.lookUp($0) } }
    #expect(table.count == 1)
  }

  @Test(arguments: ["", "two words", "new\nline", "\u{7f}", "ä", String(repeating: "x", count: 65)])
  func whatIsNoNameIsRefused(_ name: String) {
    var table = NameTable()
    #expect(throws: NameTable.Failure.malformed) {
      try with(name) { try table.register($0, owner: 1, right: 1) }
    }
  }
}
