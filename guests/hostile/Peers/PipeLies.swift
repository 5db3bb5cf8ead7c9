import ExoABI
import ExosIPC
import GuestRuntime
import LibOS

extension Attack {
  /// Lengths, positions and states of a pipe that cannot be.
  static var pipeLies: Attack {
    Attack("pipe-lies", "Claims impossible lengths and positions in a pipe, to a reader and to a writer.") {
      for lie in 0..<8 as Range<UInt64> {
        var pair = mounted(argument: lie, server: credulousServer, client: lyingClient)
        expectEnd(&pair.server, 0, "the victim of lie \(lie)")
        pair.discard()
      }
    }
  }
}

// --- in the children

private func credulousServer(_ lie: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil, let connection = accepted() else {
    return 1
  }
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 16)
  let limit = Clock.now + 2_000_000_000
  var error: PipeError?
  let long = UnsafeMutableRawBufferPointer.allocate(byteCount: 5000, alignment: 16)
  if lie < 4 || lie == 6 {
    var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
    Pair.words[20] = 1
    var turns = 0
    while error == nil {
      turns += 1
      error = failure { () throws(PipeError) in
        let count =
          try lie == 6
          ? reader.readAll(into: long, until: limit)
          : reader.read(into: bytes, until: lie == 3 ? Clock.now + 20_000_000 : limit)
        if count > (lie == 6 ? long.count : bytes.count) { Pair.words[21] = 1 }
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
        _ = try writer.write(UnsafeRawBufferPointer(lie == 7 ? long : bytes), until: limit)
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
    Wakeup.pause(20_000_000)
    return 0
  case 3: tell(stamp, .max)  // about to be written, for ever
  case 6: tell(stamp, 1 << 40)  // the same to one that reads in pieces
  case 4, 7: tell(read, 1 << 40)  // read before it was written
  default: tell(read, 1025)
  }
  signalForEver(connection)
}

/// Until it is ended.
private func signalForEver(_ connection: Connection) -> Never {
  while true {
    try? connection.signal()
    Wakeup.pause(5_000_000)
  }
}
