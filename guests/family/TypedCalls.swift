import GuestRuntime
import LibOS

/// What the server of typed calls does: `GateCall` with a tuple, with the largest structure, without words, and refusing.
private enum Sum: GateCall {
  typealias Request = (UInt64, UInt64)
  typealias Answer = UInt64
  static var number: UInt32 { 1 }
}
private struct Six: BitwiseCopyable {
  var a: UInt64, b: UInt64, c: UInt64, d: UInt64, e: UInt64, f: UInt64
}
private enum Turn: GateCall {
  typealias Request = Six
  typealias Answer = Six
  static var number: UInt32 { 2 }
}
private enum Halve: GateCall {
  typealias Request = UInt32
  typealias Answer = UInt16
  static var number: UInt32 { 3 }
}
private enum Touch: GateCall {
  typealias Request = Void
  typealias Answer = Void
  static var number: UInt32 { 4 }
}
private enum Unknown: GateCall {
  typealias Request = UInt64
  typealias Answer = UInt64
  static var number: UInt32 { 99 }
}

private func serveTyped(_ argument: UInt64) -> Int32 {
  do throws(ExocallError) {
    let gate = try Gate.create()
    try Pair.offer(gate)
    let server = GateServer()
    server.on(Sum.self) { request throws(ExocallError) in request.0 &+ request.1 }
    server.on(Turn.self) { request throws(ExocallError) in
      Six(a: request.f, b: request.e, c: request.d, d: request.c, e: request.b, f: request.a)
    }
    server.on(Halve.self) { request throws(ExocallError) in
      if request & 1 != 0 { throw .outOfRange }
      return UInt16(truncatingIfNeeded: request / 2)
    }
    server.on(Touch.self) { _ throws(ExocallError) in Pair.words[10] &+= 1 }
    server.serve()
    return 0
  } catch { return 100 + error.number }
}

/// What went wrong with calls of every kind, made one after the other; 0 if nothing did.
@inline(never) private func callTyped(_ connection: Connection, trusting: Bool) -> Int32 {
  do throws(ExocallError) {
    for turn in 0..<2000 as Range<UInt64> {
      let request = (turn, turn &* 3)
      let sum =
        trusting ? try connection.callTrusting(Sum.self, request) : try connection.call(Sum.self, request)
      guard sum == turn &* 4 else { return 10 }
      let six = Six(a: turn, b: 2, c: 3, d: 4, e: 5, f: ~turn)
      let turned =
        trusting ? try connection.callTrusting(Turn.self, six) : try connection.call(Turn.self, six)
      guard turned.a == ~turn, turned.b == 5, turned.c == 4, turned.d == 3, turned.e == 2, turned.f == turn
      else { return 11 }
      let number = UInt32(truncatingIfNeeded: turn)
      do throws(ExocallError) {
        let half =
          trusting ? try connection.callTrusting(Halve.self, number) : try connection.call(Halve.self, number)
        guard number & 1 == 0, half == number / 2 else { return 12 }
      } catch { guard number & 1 == 1, error == .outOfRange else { return 13 } }
      if trusting { try connection.callTrusting(Touch.self, ()) } else { try connection.call(Touch.self, ()) }
      do throws(ExocallError) {
        _ = trusting ? try connection.callTrusting(Unknown.self, 1) : try connection.call(Unknown.self, 1)
        return 14
      } catch { guard error == .noSuchCall else { return 15 } }
    }
    return 0
  } catch { return 100 + error.number }
}

/// Calls by their types, many in succession.
func typed() throws(ExocallError) {
  var pair = try Pair.make(server: serveTyped) { _ in
    guard let connection = try? Pair.connect() else { return 1 }
    guard eventually({ (try? connection.call(Touch.self, ())) != nil }) else { return 2 }
    Pair.words[10] = 0
    let words = callTyped(connection, trusting: false)
    return words != 0 ? words : callTyped(connection, trusting: true)
  }
  try pair.start()
  let end = try pair.client.watch.wait()
  Promises.check(end == .exited(status: 0), "typed calls one after another are answered: the client \(end)")
  Promises.check(pair.page.words[10] == 4000, "the server saw \(pair.page.words[10]) of one kind")
  try pair.finish()
}
