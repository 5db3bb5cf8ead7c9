import ExosIPC
import GuestRuntime
import LibOS

/// Calls to an environment on another processor, by lines of their connection's page.
func calls() {
  Promises.part("answers") { () throws(ExocallError) in
    try answers(apart: true)
    try answers(apart: false)
  }
  Promises.part("waiting", waiting)
  Promises.part("late", late)
  Promises.part("deaths") { () throws(ExocallError) in
    try deadCallee()
    try deadCaller()
  }
  Promises.part("liars", lyingCallee)
  Promises.part("liars", lyingCaller)
  Promises.finish()
}

private enum Blend: GateCall {
  typealias Request = (UInt64, UInt64, UInt32)
  typealias Answer = (UInt64, UInt32)
  static var number: UInt32 { 3 }
}
private enum Refuse: GateCall {
  typealias Request = UInt64
  typealias Answer = UInt64
  static var number: UInt32 { 4 }
}
private enum Unknown: GateCall {
  typealias Request = UInt64
  typealias Answer = UInt64
  static var number: UInt32 { 5 }
}

private func procedures() -> GateServer {
  let server = GateServer()
  server.on(Blend.self) { request throws(ExocallError) in (request.0 &+ request.1 &* 3, request.2 ^ 0xffff) }
  server.on(Refuse.self) { request throws(ExocallError) in throw .outOfRange }
  return server
}

/// Starts both; each is to exit with 0.
private func outcome(_ company: inout Company, _ promise: String) throws(ExocallError) {
  try company.start()
  let ends = (try company.second.watch.wait(), try company.first.watch.wait())
  let isKept = ends == (.exited(status: 0), .exited(status: 0))
  Promises.check(isKept, isKept ? promise : "\(promise): the caller \(ends.0), the callee \(ends.1)")
  company.finish()
}

// --- in the children

/// Answers as the body says, on its connection.
private func answering(_ body: (inout LineServer, Connection) -> Int32) -> Int32 {
  guard let connection = try? Company.accept() else { return 100 }
  var server = LineServer(connection)
  return body(&server, connection)
}
/// Answers until the caller has gone.
private func answeringEach(_ handler: (inout Message) -> Void) -> Int32 {
  answering { server, _ in (try? server.serve(handler)) != nil ? 0 : 101 }
}
private func calling(_ body: (inout LineCaller, Connection) -> Int32) -> Int32 {
  guard let connection = try? Company.connect() else { return 102 }
  var caller = LineCaller(connection)
  return body(&caller, connection)
}

extension LineCaller {
  /// Asks with a number; the error, or nil if the answer is `wanted`.
  fileprivate mutating func ask(
    _ number: UInt64, for wanted: UInt64? = nil, within time: UInt64? = nil
  ) -> ExocallError? {
    var message = Message()
    message.words.0 = number
    do throws(ExocallError) {
      try call(&message, deadline: time.map { Clock.now + $0 })
      return wanted == nil || message.words.0 == wanted ? nil : .inputOutput
    } catch { return error }
  }
}

/// Until the other end has let go.
private func linger(_ connection: Connection) {
  while connection.peer != .closed { pause(1_000_000) }
}

// --- the parts

private func answers(apart: Bool) throws(ExocallError) {
  var company = try Company.make(
    apart: apart,
    { _ in answering { server, _ in (try? server.serve(procedures())) != nil ? 0 : 2 } },
    { _ in
      calling { caller, _ in
        do throws(ExocallError) {
          for turn in 0..<20_000 as Range<UInt64> {
            let answer = try caller.call(Blend.self, (turn, 7, UInt32(turn)))
            guard answer == (turn + 21, UInt32(turn) ^ 0xffff) else { return 2 }
          }
          _ = try caller.call(Refuse.self, 1)
          return 3
        } catch { if error != .outOfRange { return 4 } }
        do throws(ExocallError) { _ = try caller.call(Unknown.self, 1) } catch {
          caller.close()
          return error == .noSuchCall ? 0 : 5
        }
        return 6
      }
    })
  try outcome(
    &company,
    "20,000 calls and their answers, and errors, \(apart ? "between processors" : "on one processor")")
}

/// Both sleep between: a call or an answer that finds nobody watching wakes.
private func waiting() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      answeringEach { message in
        if message.words.0 % 2 == 1 { Wakeup.pause(3_000_000) }
        message.words.0 += 1
      }
    },
    { _ in
      calling { caller, _ in
        for turn in 0..<40 as Range<UInt64> {
          if turn % 4 < 2 { Wakeup.pause(3_000_000) }
          guard caller.ask(turn, for: turn + 1, within: 5_000_000_000) == nil else { return 2 }
        }
        caller.close()
        return 0
      }
    })
  try outcome(&company, "who has gone to sleep is woken by a call, and by its answer")
}

/// A callee that takes its time: its answer is not taken for that to the next call.
private func late() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      answeringEach { message in
        if message.words.0 == 1 { Wakeup.pause(30_000_000) }
        message.words.0 += 100
      }
    },
    { _ in
      calling { caller, _ in
        guard caller.ask(1, within: 5_000_000) == .timedOut else { return 2 }
        for turn in 2..<20 as Range<UInt64> {
          guard caller.ask(turn, for: turn + 100) == nil else { return 3 }
        }
        caller.close()
        return 0
      }
    })
  try outcome(&company, "a call is given up in time, and its late answer is dropped")
}

private func deadCallee() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in answering { server, _ in (try? server.take(until: Clock.now + 5_000_000_000)) != nil ? 0 : 2 } },
    { _ in
      calling { caller, _ in caller.ask(1) == .closedPipe && caller.ask(2) == .closedPipe ? 0 : 2 }
    })
  try outcome(&company, "a callee that ends within a call is an error to its caller")
}

private func deadCaller() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      answering { server, _ in
        var calls = 0
        guard (try? server.serve({ _ in calls += 1 })) != nil else { return 2 }
        return calls == 3 ? 0 : 3
      }
    },
    { _ in
      calling { caller, _ in
        guard caller.ask(1) == nil, caller.ask(2) == nil else { return 2 }
        // The third has nobody who takes its answer.
        _ = caller.ask(3, within: 0)
        return 0
      }
    })
  try outcome(&company, "a caller that ends without a word ends its server's work")
}

private func lyingCallee() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      answering { server, connection in
        guard (try? server.take()) != nil else { return 2 }
        // An answer to a call that was not made. Whoever sleeps does not see it otherwise.
        exo_store64(UInt64(UInt(bitPattern: connection.page)) + 128, 1 << 40)
        try? connection.signal()
        linger(connection)
        return 0
      }
    },
    { _ in calling { caller, _ in caller.ask(1) == .inputOutput ? 0 : 2 } })
  try outcome(&company, "an answer to a call that was not made is an error")
}

private func lyingCaller() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      answering { server, _ in
        do throws(PipeError) { try server.serve { _ in } } catch { return error == .corrupt ? 0 : 2 }
        return 3
      }
    },
    { _ in
      calling { caller, connection in
        for turn in 1...3 as ClosedRange<UInt64> where caller.ask(turn) != nil { return 2 }
        exo_store64(UInt64(UInt(bitPattern: connection.page)), 1)
        try? connection.signal()
        linger(connection)
        return 0
      }
    })
  try outcome(&company, "a call from the past is an error")
}
