import ExoABI
import GuestRuntime
import LibOS

extension Attack {
  /// A callee that keeps the caller's time for ever: the caller gives up, waits for its turn, or is within as the callee is ended.
  static var silentCallee: Attack {
    Attack("silent-callee", "Never returns from a call, until its caller gives up, and until it is ended.") {
      for isWithin in [false, true] {
        var pair = mounted(argument: isWithin ? 1 : 0, server: silentServer, client: trustingClient)
        expect(eventually { Pair.words[20] == 2 }, "the caller did not get through its first calls")
        expect((try? pair.server.environment.end(status: 9)) != nil, "ending is refused")
        expectEnd(&pair.client, 0, isWithin ? "the caller within" : "the caller before the door")
        pair.discard()
      }
    }
  }
}

// --- in the children

private enum Wait: GateCall {
  typealias Request = UInt64
  typealias Answer = UInt64
  static var number: UInt32 { 7 }
}

private func silentServer(_ argument: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil else { return 1 }
  Gate.serve { message in
    if message.words.0 == 0 { return }
    if message.words.0 == 2 { Pair.words[20] = 2 }
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
  if argument == 1 { return call(2, within: nil) == .closedPipe ? 0 : 5 }
  guard call(1, within: 20_000_000) == .timedOut else { return 3 }
  // It is at it still, on time of its own.
  guard call(1, within: 20_000_000) == .busy || call(1, within: 20_000_000) == .timedOut else { return 4 }
  Pair.words[20] = 2
  let error = call(1, within: nil)
  return error == .noEntry || error == .closedPipe ? 0 : 100 + (error?.number ?? 0)
}
