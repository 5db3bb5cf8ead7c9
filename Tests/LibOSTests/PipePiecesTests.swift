import Testing

@testable import ExosIPCHost

/// Long streams in pieces: 4096 bytes, or half of a small pipe.
@Suite struct PipePiecesTests {
  private func stream(_ range: Range<Int>) -> [UInt8] { range.map(pattern) }

  @Test(arguments: [64, 256, 8192, 65536])
  func aStreamComesOutInOrder(_ capacity: Int) throws {
    let pipe = PipeFixture(capacity: capacity)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    let total = 8 * capacity + 100
    let bytes = stream(0..<total)
    var (sent, got, turn) = (0, [UInt8](), 0)
    while got.count < total {
      turn += 1
      if turn % 5 < 3 { sent += try writer.offerPiece(Array(bytes[sent...])) }
      if turn % 3 > 0, let taken = try reader.takePieces(turn % 7 == 0 ? 100 : 3 * capacity) { got += taken }
      #expect(sent - got.count <= capacity && got.count <= sent)
    }
    #expect(got == bytes && sent == total)
    writer.close()
    #expect(try reader.takePieces(1) == [])
  }

  @Test func aPieceIsWrittenWholeOrNotAtAll() throws {
    let pipe = PipeFixture(capacity: 8192)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    let bytes = stream(0..<70_000)
    for _ in 0..<2 { #expect(try writer.offerPiece(bytes) == 4096) }
    #expect(try writer.offerPiece(bytes) == 0)
    #expect(try reader.take(4095)?.count == 4095)
    #expect(try writer.offerPiece(bytes) == 0)
    // What is left at the end is a piece too, and what there is room for can be had otherwise.
    #expect(try writer.offerPiece([1, 2, 3]) == 3)
    #expect(try writer.offer(bytes) == 4092)
  }

  /// Small writes, which lie in the window too, among pieces, which do not.
  @Test func windowsAndPiecesMix() throws {
    let pipe = PipeFixture(capacity: 512)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    var (sent, got) = (0, 0)
    for turn in 0..<4000 {
      switch turn % 4 {
      case 0: sent += try writer.offerPiece(stream(sent..<sent + 1 + turn % 300))
      case 1: sent += try writer.offer(stream(sent..<sent + 1 + turn % 48))
      case 2: if try writer.offer(byte: pattern(sent)) { sent += 1 }
      default: sent += try writer.offer(stream(sent..<sent + 49 + turn % 100))
      }
      for _ in 0..<1 + turn % 2 {
        let taken = turn % 3 == 0 ? try reader.take(200) : try reader.takePieces(500)
        if let taken {
          #expect(taken == stream(got..<got + taken.count))
          got += taken.count
        }
      }
    }
    #expect(got > 200_000 && sent - got <= 512)
  }

  @Test func roomIsGivenBackBeforeAllIsRead() throws {
    let pipe = PipeFixture(capacity: 8192)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    #expect(try writer.offer(stream(0..<8192)) == 8192)
    #expect(try reader.takePieces(5000) == stream(0..<5000))
    #expect(try writer.offerPiece(stream(8192..<70_000)) == 4096)
    // What was seen at once, then what came meanwhile.
    #expect(try reader.takePieces(70_000) == stream(5000..<8192))
    #expect(try reader.takePieces(70_000) == stream(8192..<12_288))
  }

  @Test func whoSleepsIsWokenAfterPieces() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    reader.announceSleep()
    _ = try writer.offerPiece([UInt8](repeating: 1, count: 100))
    #expect(writer.mustWakeAfterPieces())
    #expect(!writer.mustWakeAfterPieces())
    reader.endSleep()
    writer.announceSleep()
    #expect(try reader.takePieces(100)?.count == 32)
    #expect(reader.mustWakeAfterPieces())
    #expect(!reader.mustWakeAfterPieces())
  }

  @Test func watchingEndsWithRoom() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    for _ in 0..<2 { _ = try writer.offerPiece([UInt8](repeating: 1, count: 100)) }
    // Full: comes back for want of turns. With room: would not come back otherwise.
    writer.watch(10, for: 100)
    _ = try reader.takePieces(32)
    writer.watch(.max, for: 100)
    #expect(try writer.offerPiece([UInt8](repeating: 1, count: 100)) == 32)
    writer.close()
    reader.close()
    #expect(throws: PipeError.closed) { try writer.offerPiece([1]) }
  }

  // --- lies

  @Test(arguments: [65, 1 << 20, 1 << 63, UInt64.max - 1])
  func aStampPastTheRingIsRefused(_ stamp: UInt64) throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    _ = try writer.offerPiece([1, 2, 3])
    #expect(try reader.takePieces(100) == [1, 2, 3])
    pipe.store(stamp &+ 3, at: PipeMemory.stampOffset)
    if stamp &+ 3 == PipeMemory.updating { return }
    #expect(throws: PipeError.corrupt) { try reader.takePieces(100) }
    pipe.store(4, at: PipeMemory.stampOffset)
    #expect(throws: PipeError.corrupt) { try reader.takePieces(100) }
    #expect(throws: PipeError.corrupt) { try reader.take(100) }
  }

  @Test(arguments: [65, 1 << 40, UInt64.max])
  func aReaderThatReadWhatWasNotWrittenIsRefused(_ read: UInt64) throws {
    let pipe = PipeFixture(capacity: 64)
    let writer = Writer(pipe)
    for _ in 0..<2 { _ = try writer.offerPiece([UInt8](repeating: 0, count: 100)) }
    pipe.store(read, at: PipeMemory.readOffset)
    writer.watch(10, for: 100)
    #expect(throws: PipeError.corrupt) { try writer.offerPiece([0]) }
    pipe.store(64, at: PipeMemory.readOffset)
    #expect(throws: PipeError.corrupt) { try writer.offerPiece([0]) }
  }

  /// What was found right once is what is read, whatever the word says by then.
  @Test func aStampThatShrinksMeanwhileChangesNothing() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    _ = try writer.offer([UInt8](0..<60))
    #expect(try reader.takePieces(10) == [UInt8](0..<10))
    pipe.store(5, at: PipeMemory.stampOffset)
    #expect(try reader.takePieces(100) == [UInt8](10..<60))
    #expect(throws: PipeError.corrupt) { try reader.takePieces(100) }
  }

  @Test func memoryThatWasReplacedIsNoticed() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    for _ in 0..<2 { _ = try writer.offerPiece([UInt8](repeating: 1, count: 100)) }
    _ = try reader.takePieces(64)
    for offset in 0..<512 { pipe.scribble(offset, 0) }
    #expect(throws: PipeError.vanished) { try reader.takePieces(1) }
    #expect(throws: PipeError.vanished) { try writer.offerPiece([1]) }
  }
}
