import Testing

@testable import ExosIPCHost

/// Calls by lines: what each end makes of what the other leaves there.
@Suite struct CallLineTests {
  /// The two ends and their memory, as objects, for expectations cannot hold what must not be copied.
  private final class Line: @unchecked Sendable {
    let line: CallLine
    private let block = UnsafeMutableRawPointer.allocate(byteCount: CallLine.size, alignment: 64)
    private var asker: CallAsker
    private var answerer: CallAnswerer

    init() {
      block.initializeMemory(as: UInt8.self, repeating: 0, count: CallLine.size)
      line = CallLine(address: UInt(bitPattern: block))
      asker = CallAsker(line)
      answerer = CallAnswerer(line)
    }
    deinit { block.deallocate() }

    func ask(_ number: UInt64) throws { try asker.ask(words(number)) }
    func answer() throws -> UInt64? { try checked(asker.answer()) }
    func take() throws -> UInt64? { try checked(answerer.take()) }
    func reply(_ number: UInt64) { answerer.answer(words(number)) }
    func watchForAnswer() { asker.watch(1000) }
    func watchForCall() { answerer.watch(1000) }
    func closeCaller() { asker.close() }
    func closeCallee() { answerer.close() }
    /// What either end could do with any word.
    func store(_ value: UInt64, at offset: UInt) {
      line.turn(offset).pointee.store(value, ordering: .sequentiallyConsistent)
    }

    private func words(_ number: UInt64) -> CallLine.Words {
      (number, number &* 3, number &* 5, number &* 7, number &* 11, number &* 13, ~number)
    }
    /// The number, if nothing is torn.
    private func checked(_ found: CallLine.Words?) -> UInt64? {
      guard let found else { return nil }
      let wanted = words(found.0)
      #expect(found.1 == wanted.1 && found.2 == wanted.2 && found.3 == wanted.3 && found.4 == wanted.4)
      #expect(found.5 == wanted.5 && found.6 == wanted.6)
      return found.0
    }
  }

  @Test func aCallIsTakenOnceAndAnsweredOnce() throws {
    let line = Line()
    #expect(try line.take() == nil)
    for turn in 1...3 as ClosedRange<UInt64> {
      try line.ask(turn)
      #expect(try line.answer() == nil)
      #expect(try line.take() == turn)
      #expect(try line.take() == nil)
      line.reply(turn + 100)
      #expect(try line.answer() == turn + 100)
    }
  }

  @Test func aCallThatWasGivenUpIsNotAnswered() throws {
    let line = Line()
    try line.ask(1)
    #expect(try line.take() == 1)
    try line.ask(2)
    line.reply(101)
    #expect(try line.answer() == nil)
    #expect(try line.take() == 2)
    line.reply(102)
    #expect(try line.answer() == 102)
    // Not even taken.
    try line.ask(3)
    try line.ask(4)
    #expect(try line.take() == 4)
  }

  @Test func theEndIsAfterTheLastCall() throws {
    let line = Line()
    try line.ask(1)
    line.closeCaller()
    #expect(try line.take() == 1)
    #expect(throws: PipeError.closed) { try line.take() }
    line.reply(2)
    line.closeCallee()
    #expect(try line.answer() == 2)
    #expect(throws: PipeError.closed) { try line.ask(3) }
  }

  @Test func nobodyAnswersWhoHasClosed() throws {
    let line = Line()
    try line.ask(1)
    line.closeCallee()
    #expect(throws: PipeError.closed) { try line.answer() }
  }

  @Test func whatCannotBeIsCorrupt() throws {
    let line = Line()
    try line.ask(1)
    line.store(2, at: CallLine.answerOffset)
    #expect(throws: PipeError.corrupt) { try line.answer() }
    let other = Line()
    try other.ask(1)
    try other.ask(2)
    #expect(try other.take() == 2)
    other.store(1, at: 0)
    #expect(throws: PipeError.corrupt) { try other.take() }
    // About to change, for ever.
    other.store(.max, at: 0)
    #expect(try other.take() == nil)
  }

  /// Two threads; the caller gives up every fifth call at once.
  @Test func nothingIsTornOrTakenForAnotherAnswer() async throws {
    let line = Line()
    let count: UInt64 = 100_000
    async let served = Task.detached { () throws -> Int in
      var taken = 0
      do {
        while true {
          guard let number = try line.take() else {
            line.watchForCall()
            await Task.yield()
            continue
          }
          taken += 1
          line.reply(number &+ 1_000_000)
        }
      } catch PipeError.closed { return taken }
    }.value
    async let asked = Task.detached { () throws -> Int in
      var answered = 0
      for turn in 1...count {
        try line.ask(turn)
        if turn % 5 == 0, turn != count { continue }
        while true {
          if let number = try line.answer() {
            #expect(number == turn &+ 1_000_000)
            break
          }
          line.watchForAnswer()
          await Task.yield()
        }
        answered += 1
      }
      line.closeCaller()
      return answered
    }.value
    let (taken, answered) = try await (served, asked)
    #expect(answered == Int(count - count / 5 + 1))
    #expect(taken >= answered && taken <= Int(count))
  }
}
