import Testing

@testable import ExosIPCHost

@Suite struct PipeTests {
  @Test func bytesComeOutInOrder() throws {
    let pipe = PipeFixture(capacity: 256)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    #expect(try reader.take(10) == nil)
    #expect(try writer.offer([1, 2, 3]) == 3)
    #expect(try reader.take(2) == [1, 2])
    #expect(try writer.offer([4]) == 1)
    #expect(try reader.take(10) == [3])
    #expect(try reader.take(10) == [4])
    #expect(try reader.take(10) == nil)
  }

  /// Through the window and past it, across the ring's end, in every mixture of sizes.
  @Test func sizesMix() throws {
    let pipe = PipeFixture(capacity: 128)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    var (sent, got) = (0, 0)
    var random: UInt64 = 1
    for _ in 0..<50_000 {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let size = Int(random >> 40 % 140)
      if random >> 33 & 1 == 0 {
        sent += try writer.offer((0..<size).map { pattern(sent + $0) })
      } else if let bytes = try reader.take(max(size, 1)) {
        #expect(bytes == (0..<bytes.count).map { pattern(got + $0) })
        got += bytes.count
      }
      #expect(sent - got <= 128 && got <= sent)
    }
    #expect(got > 500_000)
  }

  @Test func oneByteAtATime() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    for index in 0..<1000 {
      let ahead = index % 7
      for byte in 0..<ahead { #expect(try writer.offer(byte: UInt8(byte))) }
      for byte in 0..<ahead { #expect(try reader.takeByte() == UInt8(byte)) }
      #expect(try reader.takeByte() == nil)
    }
    for byte in 0..<64 { #expect(try writer.offer(byte: UInt8(byte))) }
    #expect(try !writer.offer(byte: 0))
  }

  @Test func aFullPipeTakesNothing() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    #expect(try writer.offer([UInt8](repeating: 7, count: 100)) == 64)
    #expect(try writer.offer([1]) == 0)
    #expect(try reader.take(4)?.count == 4)
    #expect(try writer.offer([1, 2, 3, 4, 5], whole: true) == 0)
    #expect(try writer.offer([1, 2, 3, 4], whole: true) == 4)
    #expect(throws: PipeError.tooLong) { try writer.offer([UInt8](repeating: 0, count: 65), whole: true) }
  }

  @Test func theEndComesAfterTheRest() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    _ = try writer.offer([1, 2])
    writer.close()
    #expect(try reader.take(1) == [1])
    #expect(try !reader.isAtEnd())
    #expect(try reader.take(8) == [2])
    #expect(try reader.take(8) == [])
    #expect(try reader.isAtEnd())
  }

  @Test func writingToNobodyIsAnError() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    reader.close()
    #expect(throws: PipeError.closed) { try writer.offer([1]) }
    #expect(throws: PipeError.closed) { try writer.offer(byte: 1) }
  }

  @Test func aSleeperIsWokenOnce() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    reader.announceSleep()
    _ = try writer.offer([1])
    #expect(writer.mustWake())
    _ = try writer.offer([2])
    #expect(!writer.mustWake())
    reader.endSleep()
    #expect(!writer.mustWake())
    reader.announceSleep()
    #expect(writer.mustWake())
    writer.announceSleep()
    #expect(reader.mustWake())
    #expect(!reader.mustWake())
  }

  // --- several writers

  @Test func writesOfSeveralStayWhole() throws {
    let pipes = (0..<3).map { _ in PipeFixture(capacity: 256) }
    var merge = PipeMerge()
    for pipe in pipes { _ = merge.add(pipe.memory) }
    let writers = pipes.map { Writer($0) }
    // Each sends numbered messages of its own letter: length, number, letters.
    var turn = 0
    var seen = [[UInt8]](repeating: [], count: 3)
    var stream: [UInt8] = []
    for round in 0..<3000 {
      let which = round % 3
      let message = [UInt8(which)] + [UInt8](repeating: UInt8(0x61 + which), count: 1 + round % 40) + [0xff]
      if try writers[which].offer(message, whole: true) > 0 { seen[which] += message }
      var bytes = [UInt8](repeating: 0, count: 1 + turn % 50)
      turn += 1
      if let (count, _) = bytes.withUnsafeMutableBytes({ merge.take(into: $0) }) { stream += bytes[..<count] }
    }
    while true {
      var bytes = [UInt8](repeating: 0, count: 64)
      guard let (count, _) = bytes.withUnsafeMutableBytes({ merge.take(into: $0) }) else { break }
      stream += bytes[..<count]
    }
    var got = [[UInt8]](repeating: [], count: 3)
    for message in stream.split(separator: 0xff) {
      let which = Int(message.first ?? 9)
      #expect(message.dropFirst().allSatisfy { $0 == UInt8(0x61 + which) })
      got[which] += message + [0xff]
    }
    #expect(got == seen)
    for index in writers.indices { writers[index].close() }
    var rest = [UInt8](repeating: 0, count: 8)
    _ = rest.withUnsafeMutableBytes { merge.take(into: $0) }
    #expect(rest.withUnsafeMutableBytes { merge.take(into: $0) }?.count == 0)
  }

  @Test func aWriterThatLiesHarmsNoOther() throws {
    let pipes = (0..<2).map { _ in PipeFixture(capacity: 64) }
    var merge = PipeMerge()
    for pipe in pipes { _ = merge.add(pipe.memory) }
    pipes[0].store(1 << 40, at: PipeMemory.stampOffset)
    let honest = Writer(pipes[1])
    _ = try honest.offer([5, 6])
    var bytes = [UInt8](repeating: 0, count: 8)
    let got = bytes.withUnsafeMutableBytes { merge.take(into: $0) }
    #expect(got?.count == 2 && got?.writer == 1 && bytes[0] == 5)
    #expect(merge.isOver(0) && !merge.isOver(1))
  }
}

/// The other end writes whatever it likes into the shared words.
@Suite struct PipeAdversaryTests {
  @Test(arguments: [65, 1 << 20, 1 << 63, UInt64.max - 1])
  func aStampPastTheRingIsRefused(_ stamp: UInt64) throws {
    let pipe = PipeFixture(capacity: 64)
    let reader = Reader(pipe)
    pipe.store(stamp, at: PipeMemory.stampOffset)
    #expect(throws: PipeError.corrupt) { try reader.take(8) }
    // And stays so, whatever it says afterwards.
    pipe.store(0, at: PipeMemory.stampOffset)
    #expect(throws: PipeError.corrupt) { try reader.take(8) }
    #expect(throws: PipeError.corrupt) { try reader.isAtEnd() }
  }

  @Test func aStampThatGoesBackIsRefused() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    _ = try writer.offer([1, 2, 3])
    #expect(try reader.take(8) == [1, 2, 3])
    pipe.store(2, at: PipeMemory.stampOffset)
    #expect(throws: PipeError.corrupt) { try reader.take(8) }
    #expect(throws: PipeError.corrupt) { try reader.takeByte() }
  }

  @Test(arguments: [65, 1 << 40, UInt64.max])
  func aReaderThatReadWhatWasNotWrittenIsRefused(_ read: UInt64) throws {
    let pipe = PipeFixture(capacity: 64)
    let writer = Writer(pipe)
    _ = try writer.offer([UInt8](repeating: 0, count: 64))
    pipe.store(read, at: PipeMemory.readOffset)
    #expect(throws: PipeError.corrupt) { try writer.offer([0]) }
    pipe.store(64, at: PipeMemory.readOffset)
    #expect(throws: PipeError.corrupt) { try writer.offer(byte: 0) }
  }

  @Test func aReaderThatGoesBackIsRefused() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    for _ in 0..<3 {
      _ = try writer.offer([UInt8](repeating: 1, count: 64))
      _ = try reader.take(64)
    }
    pipe.store(3, at: PipeMemory.readOffset)
    #expect(throws: PipeError.corrupt) { try writer.offer([UInt8](repeating: 1, count: 64)) }
  }

  @Test func aWindowOfAnyCountIsNotReadPastItsEnd() throws {
    for count in [0, 1, 2, 3, 47, 48, 49, 64, 1 << 32, UInt64.max] as [UInt64] {
      let pipe = PipeFixture(capacity: 64)
      let (writer, reader) = (Writer(pipe), Reader(pipe))
      _ = try writer.offer([9, 9, 9])
      pipe.store(count, at: PipeMemory.countOffset)
      // Which bytes is the writer's affair; how many is not.
      #expect(try reader.take(64)?.count == 3)
    }
  }

  @Test func anEndlessUpdateIsNothingNew() throws {
    let pipe = PipeFixture(capacity: 64)
    let reader = Reader(pipe)
    pipe.store(.max, at: PipeMemory.stampOffset)
    for _ in 0..<100 { #expect(try reader.take(8) == nil) }
    // Nor is it the end, though the writer says that it has closed.
    pipe.store(2, at: PipeMemory.writerOffset)
    #expect(try reader.take(8) == nil)
  }

  @Test func memoryThatWasReplacedIsNoticed() throws {
    let pipe = PipeFixture(capacity: 64)
    let (writer, reader) = (Writer(pipe), Reader(pipe))
    _ = try writer.offer([UInt8](repeating: 1, count: 64))
    _ = try reader.take(64)
    for offset in 0..<512 { pipe.scribble(offset, 0) }
    #expect(throws: PipeError.vanished) { try reader.take(1) }
    #expect(throws: PipeError.vanished) { try writer.offer([UInt8](repeating: 1, count: 64)) }
  }

  /// Random stores to every word while both ends go on: whatever comes, no end touches memory that is not the pipe's, and
  /// none gives or takes more than there is room for.
  @Test func scribblesEndInErrors() {
    var random: UInt64 = 7
    func next(_ bound: UInt64) -> UInt64 {
      random ^= random << 13
      random ^= random >> 7
      random ^= random << 17
      return random % bound
    }
    for _ in 0..<2000 {
      let pipe = PipeFixture(capacity: 64)
      let (writer, reader) = (Writer(pipe), Reader(pipe))
      var failed = false
      for _ in 0..<40 where !failed {
        if next(4) == 0 {
          let value = [next(130), .max - next(3), 1 << next(64), random][Int(next(4))]
          pipe.store(value, at: UInt(next(64)) * 8)
        }
        do {
          if next(2) == 0 {
            let size = Int(next(80))
            let bytes = [UInt8](repeating: 1, count: size)
            #expect(try next(2) == 0 ? writer.offer(bytes) <= size : writer.offerPiece(bytes) <= 32)
          } else {
            let size = 1 + Int(next(80))
            let bytes = try next(2) == 0 ? reader.take(size) : reader.takePieces(size)
            if let bytes { #expect(bytes.count <= size) }
            _ = try reader.takeByte()
          }
          _ = (writer.mustWake(), reader.mustWakeAfterPieces())
        } catch { failed = true }
      }
    }
  }
}
