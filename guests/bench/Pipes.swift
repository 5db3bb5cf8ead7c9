import ExosIPC
import GuestRuntime
import LibOS

/// Pipes of the LibOS between two environments on two processors: one byte there and back, and 64 KiB answered by a byte. The
/// small ones lie on the page of a connection, which neither end can take away.
enum Pipes {
  static func oneWay(_ command: Command) -> Timing? {
    halved(Duo.run(command, serverOn: 1, server: echoBytes, client: askBytes))
  }
  /// The same with reading and writing compiled in, which watches and does not sleep.
  static func inlined(_ command: Command) -> Timing? {
    halved(Duo.run(command, serverOn: 1, server: echoInlined, client: askInlined))
  }

  static var block: Int { 65536 }
  /// What the pipe holds: a ring that stays in the nearest caches of both processors.
  static var ring: Int { 8192 }

  static func blocks(_ command: Command) -> Timing? {
    guard let made = try? PipeFrames(capacity: ring) else { return nil }
    var frames = made
    defer {
      try? Exocall.unmap(Duo.pipe, pages: frames.pages)
      frames.release()
    }
    guard (try? frames.map(at: Duo.pipe)) != nil else { return nil }
    return Duo.run(command, serverOn: 1, pipe: frames, server: takeBlocks, client: giveBlocks)
  }

  private static func halved(_ timing: Timing?) -> Timing? {
    timing.map { Timing($0.ticks, $0.operations * 2) }
  }
}

private var warmUp: UInt64 { 100 }

private func askBytes(_ argument: UInt64) -> Int32 {
  guard let connection = try? Duo.connect(), !connection.isLocal else { return 1 }
  var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
  var reader = PipeReader(.on(connection, fromCaller: false), from: PipePeer(connection))
  let byte = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 16)
  let count = Duo.load(Duo.Word.count)
  var begin: UInt64 = 0
  do throws(PipeError) {
    for turn in 0..<count + warmUp {
      if turn == warmUp { begin = exo_ticks() }
      try writer.write(UnsafeRawBufferPointer(byte))
      if try reader.read(into: byte) != 1 { return 2 }
    }
  } catch { return 3 }
  let ticks = exo_ticks() &- begin
  writer.close()
  return Duo.report(Timing(ticks, count))
}

private func askInlined(_ argument: UInt64) -> Int32 {
  guard let connection = try? Duo.connect(), !connection.isLocal else { return 1 }
  var writer = PipeProducer(.on(connection, fromCaller: true))
  var reader = PipeConsumer(.on(connection, fromCaller: false))
  let count = Duo.load(Duo.Word.count)
  var begin: UInt64 = 0
  do throws(PipeError) {
    for turn in 0..<count + warmUp {
      if turn == warmUp { begin = exo_ticks() }
      if try !writer.offer(byte: 1) { return 2 }
      while try reader.takeByte() == nil {}
    }
  } catch { return 3 }
  let ticks = exo_ticks() &- begin
  writer.close()
  return Duo.report(Timing(ticks, count))
}

private func giveBlocks(_ argument: UInt64) -> Int32 {
  guard let connection = try? Duo.connect(), !connection.isLocal else { return 1 }
  var writer = PipeWriter(PipeFrames.memory(at: Duo.pipe, capacity: Pipes.ring), to: PipePeer(connection))
  var reader = PipeReader(.on(connection, fromCaller: false), from: PipePeer(connection))
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Pipes.block, alignment: 4096)
  for index in 0..<Pipes.block { bytes[index] = UInt8(truncatingIfNeeded: index) }
  let answer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 16)
  let count = Duo.load(Duo.Word.count)
  var begin: UInt64 = 0
  do throws(PipeError) {
    for turn in 0..<count + 10 {
      if turn == 10 { begin = exo_ticks() }
      try writer.write(UnsafeRawBufferPointer(bytes))
      if try reader.read(into: answer) != 1 || answer[0] != 0xff { return 2 }
    }
  } catch { return 3 }
  let ticks = exo_ticks() &- begin
  writer.close()
  return Duo.report(Timing(ticks, count))
}

/// Waits until the client has connected.
func accepted() throws(ExocallError) -> Connection {
  try Duo.offer(try Gate.create())
  while true {
    Events.wait()
    if let event = Events.poll(), event.kind == Events.Kind.gate.rawValue {
      return Connection(accepted: event.data)
    }
  }
}

private func echoBytes(_ argument: UInt64) -> Int32 {
  guard let connection = try? accepted() else { return 1 }
  var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
  var writer = PipeWriter(.on(connection, fromCaller: false), to: PipePeer(connection))
  let byte = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 16)
  do throws(PipeError) {
    while try reader.read(into: byte) == 1 { try writer.write(UnsafeRawBufferPointer(byte)) }
  } catch { return 2 }
  return 0
}

private func echoInlined(_ argument: UInt64) -> Int32 {
  guard let connection = try? accepted() else { return 1 }
  var reader = PipeConsumer(.on(connection, fromCaller: true))
  var writer = PipeProducer(.on(connection, fromCaller: false))
  do throws(PipeError) {
    while true {
      guard let byte = try reader.takeByte() else {
        if try reader.isAtEnd() { return 0 }
        continue
      }
      while try !writer.offer(byte: byte) {}
    }
  } catch { return 2 }
}

private func takeBlocks(_ argument: UInt64) -> Int32 {
  guard let connection = try? accepted() else { return 1 }
  var reader = PipeReader(PipeFrames.memory(at: Duo.pipe, capacity: Pipes.ring), from: PipePeer(connection))
  var writer = PipeWriter(.on(connection, fromCaller: false), to: PipePeer(connection))
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Pipes.block, alignment: 4096)
  do throws(PipeError) {
    while try reader.readAll(into: bytes) == Pipes.block {
      try writer.write(UnsafeRawBufferPointer(rebasing: bytes[(Pipes.block - 1)...]))
    }
  } catch { return 2 }
  return 0
}
