import ExosIPC
import GuestRuntime
import LibOS

/// Pipes between environments that do not trust one another.
func pipes() {
  Promises.part("stream") { () throws(ExocallError) in
    try stream(apart: true)
    try stream(apart: false)
  }
  Promises.part("frames", frames)
  Promises.part("waiting", waiting)
  Promises.part("pieces", pieces)
  Promises.part("ends", PipeEnds.ends)
  Promises.part("deaths", PipeEnds.deaths)
  Promises.part("liars", PipeEnds.liars)
  Promises.part("vanishing", PipeEnds.vanishing)
  Promises.part("several", several)
  Promises.finish()
}

private func pattern(_ position: Int) -> UInt8 {
  UInt8(truncatingIfNeeded: position &* 0x9e37 >> 5 ^ position)
}

/// Writes a stream in pieces of all sizes up to `largest`.
private func send(_ total: Int, largest: Int, _ writer: inout PipeWriter) -> Bool {
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: largest, alignment: 16)
  defer { bytes.deallocate() }
  var (done, turn) = (0, 0)
  while done < total {
    turn += 1
    let size = min(1 + turn * 7919 % largest, total - done)
    for index in 0..<size { bytes[index] = pattern(done + index) }
    guard (try? writer.write(UnsafeRawBufferPointer(rebasing: bytes[..<size]))) == size else { return false }
    done += size
  }
  writer.close()
  return true
}

/// Reads it to its end; how many bytes were wrong or missing, all if reading failed.
private func receive(_ total: Int, largest: Int, _ reader: inout PipeReader) -> Int {
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: largest, alignment: 16)
  defer { bytes.deallocate() }
  var (done, turn, wrong) = (0, 0, 0)
  while true {
    turn += 1
    let limit = 1 + turn * 104_729 % largest
    let piece = UnsafeMutableRawBufferPointer(rebasing: bytes[..<limit])
    guard let count = try? turn % 4 == 0 ? reader.readAll(into: piece) : reader.read(into: piece) else {
      return total
    }
    if count == 0 { return wrong + abs(total - done) }
    for index in 0..<count where bytes[index] != pattern(done + index) { wrong += 1 }
    done += count
  }
}
private func abs(_ number: Int) -> Int { number < 0 ? -number : number }

private func stream(apart: Bool) throws(ExocallError) {
  var company = try Company.make(
    apart: apart,
    { _ in
      do throws(ExocallError) {
        let connection = try Company.accept()
        var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
        return receive(300_000, largest: 700, &reader) == 0 ? 0 : 3
      } catch { return 1 }
    },
    { _ in
      do throws(ExocallError) {
        let connection = try Company.connect()
        var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
        guard send(300_000, largest: 1500, &writer) else { return 3 }
        // The page goes with the connection.
        while connection.peer != .closed { pause(1_000_000) }
        return 0
      } catch { return 2 }
    })
  try company.start()
  Promises.check(
    try company.first.watch.wait(),
    "300,000 bytes over a connection's page, \(apart ? "on two processors if there are" : "on one processor")"
  )
  Promises.check(try company.second.watch.wait(), "and their writer was told that all were read")
  company.finish()
}

/// A pipe in frames of the parent's, ends woken by a message to their environment.
private func frames() throws(ExocallError) {
  var memory = try PipeFrames(capacity: 8192)
  _ = try memory.map(at: Company.pipe)
  var company = try Company.make(
    apart: true,
    { _ in
      do throws(ExocallError) {
        var reader = PipeReader(
          PipeFrames.memory(at: Company.pipe, capacity: 8192),
          from: try Company.peer(Company.Word.secondOfFirst))
        return receive(4_000_000, largest: 20_000, &reader) == 0 ? 0 : 3
      } catch { return 1 }
    },
    { _ in
      do throws(ExocallError) {
        var writer = PipeWriter(
          PipeFrames.memory(at: Company.pipe, capacity: 8192),
          to: try Company.peer(Company.Word.firstOfSecond))
        return send(4_000_000, largest: 60_000, &writer) ? 0 : 3
      } catch { return 2 }
    })
  try memory.map(in: company.first.environment, at: Company.pipe)
  try memory.map(in: company.second.environment, at: Company.pipe)
  try company.start()
  Promises.check(try company.first.watch.wait(), "4,000,000 bytes through shared frames")
  Promises.check(try company.second.watch.wait(), "and their writer exits well, before or after")
  company.finish()
  try Exocall.unmap(Company.pipe, pages: memory.pages)
  memory.release()
}

/// Nobody waits who does not want to, nobody longer than he wants to, and who waits is woken.
private func waiting() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      guard let connection = try? Company.accept() else { return 1 }
      var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
      guard failure({ () throws(PipeError) in _ = try reader.read(into: bytes, until: 0) }) == .wouldBlock
      else {
        return 2
      }
      let begin = Clock.now
      let end = begin + 5_000_000
      guard failure({ () throws(PipeError) in _ = try reader.read(into: bytes, until: end) }) == .timedOut,
        Clock.now >= end
      else { return 3 }
      Company[Company.Word.free] = 1
      // Asleep by now when it comes.
      guard (try? reader.read(into: bytes)) == 1, bytes[0] == 42 else { return 4 }
      // The writer fills the pipe, gives up once, then sleeps for room.
      while Company[Company.Word.free] != 2 { pause(1_000_000) }
      pause(20_000_000)
      var got = 0
      while got < 1025 {
        guard let count = try? reader.read(into: bytes) else { return 5 }
        got += count
      }
      return got == 1025 ? 0 : 6
    },
    { _ in
      guard let connection = try? Company.connect() else { return 1 }
      var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024, alignment: 16)
      bytes.initializeMemory(as: UInt8.self, repeating: 42)
      while Company[Company.Word.free] != 1 { pause(1_000_000) }
      pause(30_000_000)
      let one = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[..<1])
      guard (try? writer.write(one)) == 1 else { return 2 }
      guard (try? writer.write(UnsafeRawBufferPointer(bytes))) == 1024 else { return 3 }
      // Full, unless the reader has taken some.
      Company[Company.Word.free] = 2
      guard (try? writer.write(one)) == 1 else { return 5 }
      while connection.peer != .closed { pause(1_000_000) }
      return 0
    })
  try company.start()
  Promises.check(
    try company.first.watch.wait(),
    "a reader that does not wait, that waits so long, that sleeps until a byte comes")
  Promises.check(try company.second.watch.wait(), "a writer that sleeps until there is room")
  company.finish()
}

/// What is longer than the pipe: written for what there is room in time, or while the other end reads.
private func pieces() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      guard let connection = try? Company.accept() else { return 1 }
      var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 30_000, alignment: 16)
      while Company[Company.Word.free] != 1 { pause(1_000_000) }
      guard (try? reader.readAll(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<1024]))) == 1024
      else {
        return 2
      }
      for index in 0..<1024 where bytes[index] != pattern(index) { return 3 }
      Company[Company.Word.free] = 2
      // The writer waits, then is waited for; the end is less than was asked for.
      pause(20_000_000)
      guard (try? reader.readAll(into: bytes)) == 20_000, (try? reader.readAll(into: bytes)) == 0 else {
        return 4
      }
      for index in 0..<20_000 where bytes[index] != pattern(index) { return 5 }
      return 0
    },
    { _ in
      guard let connection = try? Company.connect() else { return 1 }
      var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
      let all = UnsafeMutableRawBufferPointer.allocate(byteCount: 30_000, alignment: 16)
      for index in all.indices { all[index] = pattern(index) }
      func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(all)[range])
      }
      // Half of the pipe is a piece. What is less than one is written too if there is no time for more.
      guard (try? writer.write(part(0..<300))) == 300,
        (try? writer.write(part(300..<20_000), until: 0)) == 724
      else { return 2 }
      guard
        failure({ () throws(PipeError) in try writer.write(part(0..<20_000), until: 0) }) == .wouldBlock,
        failure({ () throws(PipeError) in
          try writer.write(part(0..<20_000), until: Clock.now + 3_000_000)
        }) == .timedOut
      else { return 3 }
      Company[Company.Word.free] = 1
      while Company[Company.Word.free] != 2 { pause(1_000_000) }
      guard (try? writer.write(part(0..<20_000))) == 20_000 else { return 4 }
      writer.close()
      while connection.peer != .closed { pause(1_000_000) }
      return 0
    })
  try company.start()
  Promises.check(try company.first.watch.wait(), "a reader that reads all of what is longer than the pipe")
  Promises.check(try company.second.watch.wait(), "a writer of it: in no time, in some time, and all of it")
  company.finish()
}

/// Three writers, one reader; what each writes in one piece comes in one piece.
private func several() throws(ExocallError) {
  var memories: [PipeFrames] = []
  var children: [Child] = []
  for number in 0..<3 as Range<UInt64> {
    let frames = try PipeFrames(capacity: 4096)
    _ = try frames.map(at: Company.pipe + number << 16)
    let child = try Child.make(
      EnvironmentQuota(frames: 96, capabilities: 64, bindings: 8), argument: number
    ) { number in
      var writer = PipeWriter(PipeFrames.memory(at: Company.pipe, capacity: 4096), to: .unknown)
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 16)
      for turn in 0..<500 {
        let size = 2 + turn * 31 % 250
        for index in 0..<size { bytes[index] = UInt8(0x61 + number) }
        bytes[size - 1] = 0x0a
        guard (try? writer.write(UnsafeRawBufferPointer(rebasing: bytes[..<size]))) == size else { return 1 }
      }
      writer.close()
      // The memory is the parent's, but the peer is not known, and waits for room by looking.
      return 0
    }
    try frames.map(in: child.environment, at: Company.pipe)
    memories.append(frames)
    children.append(child)
  }
  var merge = PipeMerge()
  for number in 0..<3 as Range<UInt64> {
    _ = merge.add(PipeFrames.memory(at: Company.pipe + number << 16, capacity: 4096))
  }
  for child in children { try child.start() }
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 16)
  var (line, lines, torn): ([UInt8], Int, Int) = ([], 0, 0)
  let limit = Clock.now + 20_000_000_000
  reading: while Clock.now < limit {
    guard let (count, _) = merge.take(into: bytes) else {
      exo_yield(Startup.page.pointee.doorbell, 0)
      continue
    }
    if count == 0 { break reading }
    for byte in bytes[..<count] {
      if byte != 0x0a {
        if let first = line.first, first != byte { torn += 1 }
        line.append(byte)
      } else {
        lines += 1
        line = []
      }
    }
  }
  Promises.check(lines == 1500 && torn == 0, "three writers' \(lines) lines came whole, \(torn) torn")
  for index in children.indices { Promises.check(try children[index].wait(), "a writer of three exits well") }
  for number in 0..<3 as Range<UInt64> { try Exocall.unmap(Company.pipe + number << 16, pages: 2) }
  for index in memories.indices { memories[index].release() }
}
