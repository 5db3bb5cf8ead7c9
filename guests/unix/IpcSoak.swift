import ExosIPC
import GuestRuntime
import LibOS

/// Ten environments that talk in every way there is, two by two, for as many seconds as the first argument says: pipes on a
/// connection's page, pipes in frames, ports, calls through gates and by lines. Each checks all that comes.
func ipcSoak() {
  var seconds: UInt64 = 0
  for byte in (Arguments.count > 1 ? Arguments.all[1] : "2").utf8 {
    seconds = seconds &* 10 &+ UInt64(byte &- 0x30)
  }
  do throws(ExocallError) { try run(for: seconds * 1_000_000_000) } catch {
    Promises.check(false, "an exocall was refused: \(error)")
  }
  Promises.finish()
}

private enum Word { static let isOver = 40, done = 41 }
private var isOver: Bool { Company[Word.isOver] != 0 }
private let capacity = 8192

private func run(for time: UInt64) throws(ExocallError) {
  var memory = try PipeFrames(capacity: capacity)
  _ = try memory.map(at: Company.pipe)
  try Exocall.unmap(Company.pipe, pages: memory.pages)
  var all = [
    try Company.make(apart: true, slot: 1, readPage, writePage),
    try Company.make(apart: true, slot: 2, readFrames, writeFrames),
    try Company.make(apart: true, slot: 3, answerPort, askPort),
    try Company.make(apart: false, slot: 4, answerGate, askGate),
    try Company.make(apart: true, slot: 5, answerLine, askLine),
  ]
  try memory.map(in: all[1].first.environment, at: Company.pipe)
  try memory.map(in: all[1].second.environment, at: Company.pipe)
  for company in all { try company.start() }
  Wakeup.pause(time)
  for company in all { company.store(Word.isOver, 1) }
  let names = ["pipes on a page", "pipes in frames", "ports", "gates", "lines"]
  for index in all.indices {
    let ends = (try all[index].second.watch.wait(), try all[index].first.watch.wait())
    let count = all[index].load(Word.done)
    let isRight = ends == (.exited(status: 0), .exited(status: 0)) && count > 0
    Promises.check(
      isRight,
      isRight
        ? "\(names[index]): \(count) and all right" : "\(names[index]): \(count), they \(ends.0), \(ends.1)")
    all[index].finish()
  }
  memory.release()
}

/// Bytes of a stream that anybody can make again.
private func fill(_ bytes: UnsafeMutableRawBufferPointer, from position: UInt64) {
  for index in bytes.indices {
    bytes[index] = UInt8(truncatingIfNeeded: (position &+ UInt64(index)) &* 0x9e37_79b9 >> 7)
  }
}
private func isRight(_ bytes: UnsafeMutableRawBufferPointer, from position: UInt64) -> Bool {
  for index in bytes.indices
  where bytes[index] != UInt8(truncatingIfNeeded: (position &+ UInt64(index)) &* 0x9e37_79b9 >> 7) {
    return false
  }
  return true
}

private func write(_ writer: inout PipeWriter, largest: Int) -> Int32 {
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: largest, alignment: 16)
  var position: UInt64 = 0
  var turn = 0
  while !isOver {
    turn += 1
    let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<(1 + turn * 7919 % largest)])
    fill(part, from: position)
    guard (try? writer.write(UnsafeRawBufferPointer(part))) == part.count else { return 2 }
    position += UInt64(part.count)
  }
  writer.close()
  Company[Word.done] = position
  return 0
}
private func read(_ reader: inout PipeReader, largest: Int) -> Int32 {
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: largest, alignment: 16)
  var position: UInt64 = 0
  var turn = 0
  while true {
    turn += 1
    // What is shorter is the last of it.
    guard let count = try? turn % 3 == 0 ? reader.read(into: bytes) : reader.readAll(into: bytes) else {
      return 3
    }
    if count == 0 { return 0 }
    if !isRight(UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]), from: position) { return 4 }
    position += UInt64(count)
  }
}

private func readPage(_ argument: UInt64) -> Int32 {
  guard let connection = try? Company.accept() else { return 1 }
  var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
  return read(&reader, largest: 700)
}
private func writePage(_ argument: UInt64) -> Int32 {
  guard let connection = try? Company.connect() else { return 1 }
  var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
  let status = write(&writer, largest: 1500)
  while connection.peer != .closed { pause(1_000_000) }
  return status
}
private func readFrames(_ argument: UInt64) -> Int32 {
  guard let peer = try? Company.peer(Company.Word.secondOfFirst) else { return 1 }
  var reader = PipeReader(PipeFrames.memory(at: Company.pipe, capacity: capacity), from: peer)
  return read(&reader, largest: 30_000)
}
private func writeFrames(_ argument: UInt64) -> Int32 {
  guard let peer = try? Company.peer(Company.Word.firstOfSecond) else { return 1 }
  var writer = PipeWriter(PipeFrames.memory(at: Company.pipe, capacity: capacity), to: peer)
  return write(&writer, largest: 60_000)
}

private func answerPort(_ argument: UInt64) -> Int32 {
  guard let port = try? Port() else { return 1 }
  let second = Environment(capability: Capability(handle: Company[Company.Word.secondOfFirst]), number: 0)
  guard let right = try? port.right.grant(to: second, .call) else { return 2 }
  Company[Company.Word.gate] = right.handle
  while !(port.senders == 0 && isOver) {
    guard let message = try? port.receive(until: Clock.now + 20_000_000) else { continue }
    let text = UnsafeMutableRawBufferPointer(mutating: message.text)
    if !isRight(text, from: UInt64(message.id)) { return 3 }
    guard (try? message.reply(id: message.id &+ 1, message.text)) != nil else { return isOver ? 0 : 4 }
  }
  return 0
}
private func askPort(_ argument: UInt64) -> Int32 {
  while Company[Company.Word.gate] == 0 { exo_yield(Startup.page.pointee.doorbell, 0) }
  guard let right = try? SendRight(Capability(handle: Company[Company.Word.gate])) else { return 1 }
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 800, alignment: 16)
  var turn: UInt32 = 0
  while !isOver {
    turn &+= 1
    let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<(Int(turn) * 31 % 800)])
    fill(part, from: UInt64(turn))
    guard let answer = try? right.call(id: turn, UnsafeRawBufferPointer(part)), answer.id == turn &+ 1,
      answer.text.count == part.count,
      isRight(UnsafeMutableRawBufferPointer(mutating: answer.text), from: UInt64(turn))
    else { return 2 }
  }
  right.close()
  Company[Word.done] = UInt64(turn)
  return 0
}

private enum Blend: GateCall {
  typealias Request = (UInt64, UInt64, UInt64)
  typealias Answer = UInt64
  static var number: UInt32 { 1 }
}
private func answerGate(_ argument: UInt64) -> Int32 {
  do throws(ExocallError) {
    let gate = try Gate.create()
    let second = Environment(capability: Capability(handle: Company[Company.Word.secondOfFirst]), number: 0)
    Company[Company.Word.gate] = try gate.capability.grant(to: second, .call).handle
  } catch { return 1 }
  blender().serve { event in
    event.kind != Events.Kind.gate.rawValue || event.value != UInt64(EXO_GATE_CLOSED)
  }
  return 0
}
private func blender() -> GateServer {
  let server = GateServer()
  server.on(Blend.self) { request throws(ExocallError) in request.0 &+ request.1 &* 3 &+ request.2 }
  return server
}
private func askGate(_ argument: UInt64) -> Int32 {
  do throws(ExocallError) {
    let connection = try Company.connect()
    var turn: UInt64 = 0
    while !isOver {
      turn &+= 1
      guard try connection.call(Blend.self, (turn, 5, 6)) == turn &+ 21 else { return 4 }
    }
    try connection.close()
    Company[Word.done] = turn
    return 0
  } catch { return 100 + error.number }
}

private func answerLine(_ argument: UInt64) -> Int32 {
  guard let connection = try? Company.accept() else { return 1 }
  var server = LineServer(connection)
  return (try? server.serve(blender())) != nil ? 0 : 2
}
private func askLine(_ argument: UInt64) -> Int32 {
  do throws(ExocallError) {
    var caller = LineCaller(try Company.connect())
    var turn: UInt64 = 0
    while !isOver {
      turn &+= 1
      guard try caller.call(Blend.self, (turn, 5, 6)) == turn &+ 21 else { return 4 }
    }
    caller.close()
    Company[Word.done] = turn
    return 0
  } catch { return 100 + error.number }
}
