import ExoABI
import ExosIPC
import GuestRuntime
import HostileSupport
import LibOS

/// Peers that lie to one another over what they share: the LibOS's pipes, ports and calls hold against them with an error.
extension Attack {
  static var peers: [Attack] { [pipeLies, changingMessages, forgedRights, forgedNames, closedEnds, silentCallee] }

  /// Lengths, positions and states of a pipe that cannot be.
  static var pipeLies: Attack {
    Attack("pipe-lies", "Claims impossible lengths and positions in a pipe, to a reader and to a writer.") {
      for lie in 0..<6 as Range<UInt64> {
        var pair = mounted(argument: lie, server: credulousServer, client: lyingClient)
        expectEnd(&pair.server, 0, "the victim of lie \(lie)")
        pair.discard()
      }
    }
  }

  /// Messages that are changed while they are received and after.
  static var changingMessages: Attack {
    Attack("changing-messages", "Changes messages, their lengths and rights under the receiver's feet.") {
      var pair = mounted(server: receivingServer, client: changingClient)
      expectEnd(&pair.server, 0, "the receiver")
      pair.discard()
    }
  }

  /// Rights to send that nobody gave.
  static var forgedRights: Attack {
    Attack("forged-rights", "Sends to a port by made-up rights, and by a right for something else.") {
      var pair = mounted(server: unknownServer, client: forgingClient)
      expectEnd(&pair.client, 0, "the forger")
      expectEnd(&pair.server, 0, "the port")
      pair.discard()
    }
  }

  /// An end that goes while the other reads and writes.
  static var closedEnds: Attack {
    Attack("closed-ends", "Lets go of a connection, or dies, while the other end waits on it.") {
      for way in 0..<2 as Range<UInt64> {
        var pair = mounted(argument: way, server: patientServer, client: leavingClient)
        expectEnd(&pair.server, 0, "the end that stayed")
        pair.discard()
      }
    }
  }

  /// A callee that keeps the caller's time for ever, and one that is ended at that.
  static var silentCallee: Attack {
    Attack("silent-callee", "Never returns from a call, until its caller gives up, and until it is ended.") {
      var pair = mounted(server: silentServer, client: trustingClient)
      expect(eventually { Pair.words[20] == 2 }, "the caller did not get through its first calls")
      expect((try? pair.server.environment.end(status: 9)) != nil, "ending is refused")
      expectEnd(&pair.client, 0, "the caller")
      pair.discard()
    }
  }
}

private func failure(_ body: () throws(PipeError) -> Void) -> PipeError? {
  do throws(PipeError) {
    try body()
    return nil
  } catch { return error }
}

// --- lies in a pipe

private func credulousServer(_ lie: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil, let connection = accepted() else {
    return 1
  }
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 16)
  let limit = Clock.now + 2_000_000_000
  var error: PipeError?
  if lie < 4 {
    var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
    Pair.words[20] = 1
    var turns = 0
    while error == nil {
      turns += 1
      error = failure { () throws(PipeError) in
        let count = try reader.read(into: bytes, until: lie == 3 ? Clock.now + 20_000_000 : limit)
        if count > bytes.count { Pair.words[21] = 1 }
        if count == 0 { throw .closed }
      }
    }
    // A number of the window that is too large is no more than that: the bytes come from the ring.
    switch lie {
    case 2: if error != .peerEnded && error != .timedOut && error != .corrupt { return 3 }
    case 3: if error != .timedOut { return 4 }
    default: if error != .corrupt { return 2 }
    }
  } else {
    var writer = PipeWriter(.on(connection, fromCaller: false), to: PipePeer(connection))
    Pair.words[20] = 1
    while error == nil {
      error = failure { () throws(PipeError) in
        _ = try writer.write(UnsafeRawBufferPointer(bytes), until: limit)
      }
    }
    if error != .corrupt { return 5 }
  }
  return Pair.words[21] == 0 ? 0 : 6
}

private func lyingClient(_ lie: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 1 }
  let page = UInt64(UInt(bitPattern: connection.page))
  guard eventually({ Pair.words[20] == 1 }) else { return 2 }
  let (stamp, count) = (page, page + 56)
  let read = page + 512 + 128
  // Whoever sleeps does not see it otherwise.
  func tell(_ address: UInt64, _ value: UInt64) {
    exo_store64(address, value)
    try? connection.signal()
  }
  switch lie {
  case 0: tell(stamp, 1 << 40)  // more than the ring holds
  case 1: tell(stamp, 1025)  // one byte more
  case 2:
    exo_store64(count, 4000)  // a window of that size
    tell(stamp, 10)
    pause(20_000_000)
    return 0
  case 3: tell(stamp, .max)  // about to be written, for ever
  case 4: tell(read, 1 << 40)  // read before it was written
  default: tell(read, 1025)
  }
  signalForEver(connection)
}

/// Until it is ended.
private func signalForEver(_ connection: Connection) -> Never {
  while true {
    try? connection.signal()
    pause(5_000_000)
  }
}

// --- changing messages

private func receivingServer(_ argument: UInt64) -> Int32 {
  guard let port = try? Port(), let client = Optional(Pair.words[Pair.Word.clientOfServer]),
    let right = try? port.right.grant(
      to: Environment(capability: Capability(handle: client), number: 0), .call)
  else { return 1 }
  Pair.words[Pair.Word.gateOfClient] = right.handle
  let limit = Clock.now + 1_500_000_000
  var got: UInt64 = 0
  while Clock.now < limit {
    guard let message = try? port.receive(until: Clock.now + 50_000_000) else {
      if got > 0, port.senders == 0 { break }
      continue
    }
    got += 1
    Pair.words[20] = got
    if message.text.count > PortFrame.longest || message.rights.count > PortFrame.mostRights { return 2 }
    var sums: (UInt64, UInt64) = (0, 0)
    for byte in message.text { sums.0 = sums.0 &* 31 &+ UInt64(byte) }
    for _ in 0..<100 { exo_pause() }
    for byte in message.text { sums.1 = sums.1 &* 31 &+ UInt64(byte) }
    if sums.0 != sums.1 { return 3 }
  }
  return got > 0 ? 0 : 4
}

private func changingClient(_ argument: UInt64) -> Int32 {
  guard eventually({ Pair.words[Pair.Word.gateOfClient] != 0 }),
    let right = try? SendRight(Capability(handle: Pair.words[Pair.Word.gateOfClient]))
  else { return 1 }
  let text = UnsafeMutableRawBufferPointer.allocate(byteCount: 700, alignment: 16)
  text.initializeMemory(as: UInt8.self, repeating: 0x55)
  let ring = UInt64(UInt(bitPattern: Connection(accepted: 0).page)) + 1024
  var numbers = Numbers(state: 5)
  var sent = 0
  while true {
    let size = Int(numbers.next() % 700)
    if (try? right.send(
      id: UInt32(sent), UnsafeRawBufferPointer(rebasing: text[..<size]), until: Clock.now + 1_000_000)) != nil
    {
      sent += 1
    }
    // Honest for a while, so that there is something to change.
    guard sent > 20 else { continue }
    for _ in 0..<20 {
      let number = numbers.next()
      exo_store64(ring + number % 128 * 8, number & 3 == 0 ? numbers.next() : number >> 40)
    }
    if right.isDead { return 0 }
  }
}

// --- forged rights

private func unknownServer(_ argument: UInt64) -> Int32 {
  guard let port = try? Port() else { return 1 }
  // Its handle is told; the right is not given.
  Pair.words[21] = port.right.handle
  while Pair.words[20] == 0 {
    if (try? port.receive(until: Clock.now + 10_000_000)) != nil { return 2 }
  }
  return port.senders == 0 ? 0 : 3
}

private func forgingClient(_ argument: UInt64) -> Int32 {
  guard eventually({ Pair.words[21] != 0 }) else { return 1 }
  let known = Pair.words[21]
  var tries = [known, 0, 1, .max, known ^ 1, known &+ 1 << 32, known ^ 1 << 63]
  for number in 0..<64 as Range<UInt64> { tries.append(known & ~63 | number) }
  // Rights of its own that are for something else.
  for own in Capability.own { tries.append(own.handle) }
  for handle in tries {
    if let right = try? SendRight(Capability(handle: handle)) {
      Pair.words[20] = 1
      return (try? right.send(id: 1)) == nil ? 3 : 2
    }
  }
  Pair.words[20] = 1
  return 0
}

// --- closed ends

private func patientServer(_ way: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil, let connection = accepted() else {
    return 1
  }
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 512, alignment: 16)
  var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
  var writer = PipeWriter(.on(connection, fromCaller: false), to: PipePeer(connection))
  guard (try? reader.read(into: bytes)) == 3 else { return 2 }
  let limit = Clock.now + 3_000_000_000
  guard failure({ () throws(PipeError) in _ = try reader.read(into: bytes, until: limit) }) == .peerEnded
  else { return 3 }
  var error: PipeError?
  while error == nil {
    error = failure { () throws(PipeError) in
      _ = try writer.write(UnsafeRawBufferPointer(bytes), until: limit)
    }
  }
  guard error == .peerEnded || error == .closed else { return 4 }
  var message = Message()
  do throws(ExocallError) {
    try connection.callOnce(&message)
    return 5
  } catch { return error == .noEntry || error == .closedPipe ? 0 : 6 }
}

private func leavingClient(_ way: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 1 }
  var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 3, alignment: 16)
  guard (try? writer.write(UnsafeRawBufferPointer(bytes))) == 3 else { return 2 }
  pause(20_000_000)
  if way == 0 { exo_trap() }
  try? connection.close()
  while true { Wakeup.sleep() }
}

// --- a callee that never returns

private enum Wait: GateCall {
  typealias Request = UInt64
  typealias Answer = UInt64
  static var number: UInt32 { 7 }
}

private func silentServer(_ argument: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil else { return 1 }
  Gate.serve { message in
    if message.words.0 == 0 { return }
    while true { exo_pause() }
  }
  return 0
}

private func trustingClient(_ argument: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 1 }
  func call(_ request: UInt64, within time: UInt64?) -> ExocallError? {
    do throws(ExocallError) {
      _ = try connection.call(Wait.self, request, deadline: time.map { Clock.now + $0 })
      return nil
    } catch { return error }
  }
  guard eventually({ call(0, within: nil) == nil }) else { return 2 }
  Pair.words[20] = 1
  guard call(1, within: 20_000_000) == .timedOut else { return 3 }
  // It is at it still, on time of its own.
  guard call(1, within: 20_000_000) == .busy || call(1, within: 20_000_000) == .timedOut else { return 4 }
  Pair.words[20] = 2
  let error = call(1, within: nil)
  return error == .noEntry || error == .closedPipe ? 0 : 100 + (error?.number ?? 0)
}

func pause(_ nanoseconds: UInt64) {
  let end = Clock.now + nanoseconds
  while Clock.now < end { Wakeup.sleep(until: end) }
}
