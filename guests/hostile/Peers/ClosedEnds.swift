import ExoABI
import ExosIPC
import GuestRuntime
import LibOS

extension Attack {
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
}

// --- in the children

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
  Wakeup.pause(20_000_000)
  if way == 0 { exo_trap() }
  try? connection.close()
  while true { Wakeup.sleep() }
}
