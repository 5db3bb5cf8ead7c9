import GuestRuntime
import LibOS

/// Calls from one environment into another, by gates.
func transfer() {
  Promises.part("calls", calls)
  Promises.part("typed", typed)
  Promises.part("refusals", refusals)
  Promises.part("timeout", timeout)
  Promises.part("handed", handed)
  Promises.part("orphan", orphan)
  Promises.part("ended", ended)
  Promises.part("signals", signals)
  Promises.part("predicate", predicate)
  Promises.part("visits", visits)
  Promises.finish()
}

/// A server that adds the words up, counts its calls in a shared word, and does what the last word asks.
private func serveSums(_ argument: UInt64) -> Int32 {
  do throws(ExocallError) {
    let gate = try Gate.create()
    try Pair.offer(gate)
    if Pair.words[Pair.Word.secondClient] != 0 {
      try Pair.offer(gate, by: Pair.Word.secondClient, at: Pair.Word.secondGate)
    }
    Gate.serve { message in
      let words = Pair.words
      words[10] &+= 1
      switch message.words.5 {
      case 1:  // until it is let go
        while words[11] == 0 { exo_pause() }
        words[12] &+= 1
      case 2: exit(33)
      default: break
      }
      message.words.0 &+= message.words.1 &+ message.words.2
      message.words.1 = UInt64(message.gate)
    }
    return 0
  } catch { return 100 + error.number }
}

private func message(_ a: UInt64 = 0, _ b: UInt64 = 0, _ c: UInt64 = 0, asks: UInt64 = 0) -> Message {
  var message = Message()
  message.words = (a, b, c, 0, 0, asks)
  return message
}

/// A call that is answered unless the server is busy, or has not come to serving yet.
private func call(_ connection: Connection) -> Bool {
  var asked = message()
  return (try? connection.call(&asked)) != nil
}

private func check(_ end: EnvironmentEnd, _ promise: String) {
  Promises.check(end == .exited(status: 0), "\(promise): the client \(end)")
}

private func calls() throws(ExocallError) {
  var pair = try Pair.make(server: serveSums) { _ in
    do throws(ExocallError) {
      let connection = try Pair.connect()
      guard connection.isLocal, connection.peer != .closed else { return 2 }
      guard eventually({ call(connection) }) else { return 4 }
      Pair.words[10] = 0
      for i: UInt64 in 0..<1000 {
        var asked = message(i, 2, 3)
        try connection.call(&asked)
        guard asked.words.0 == i + 5, asked.words.1 != 0 else { return 3 }
      }
      // What is on the stack and in registers is there after it.
      try connection.close()
      return 0
    } catch { return 100 + error.number }
  }
  try pair.start()
  check(try pair.client.watch.wait(), "1000 calls through a gate were answered")
  Promises.check(pair.page.words[10] == 1000, "the server saw \(pair.page.words[10]) of them")
  try pair.finish()
}

/// Stopped, revoked, gone.
private func refusals() throws(ExocallError) {
  var pair = try Pair.make(server: serveSums) { _ in
    let words = Pair.words
    func result(_ connection: Connection) -> Int32 {
      while true {
        var asked = message()
        do throws(ExocallError) { try connection.call(&asked) } catch {
          // It has not come to serving yet.
          if error == .busy { continue }
          return error.number
        }
        return 0
      }
    }
    guard let connection = try? Pair.connect() else { return 1 }
    guard result(Connection(accepted: 7)) == ExocallError.noEntry.number else { return 2 }
    var step: UInt64 = 0
    // Each time the parent has changed something: call, and tell it what came of it.
    while step < 4 {
      step += 1
      guard eventually({ words[20] == step }) else { return 3 }
      words[21] = UInt64(result(connection))
      words[22] = step
    }
    return connection.peer == .closed ? 0 : 4
  }
  let words = pair.page.words
  func outcome(_ step: UInt64) -> UInt64 {
    words[20] = step
    return eventually { words[22] == step } ? words[21] : 999
  }
  try pair.start()
  let first = outcome(1)
  Promises.check(first == 0, "a call is answered: \(first)")
  try pair.server.environment.stop()
  let stopped = outcome(2)
  Promises.check(
    stopped == UInt64(ExocallError.noEntry.number), "a stopped environment is not entered: \(stopped)")
  try pair.server.environment.resume()
  Promises.check(outcome(3) == 0, "resumed, it is")
  try pair.server.environment.end(status: 5)
  let end = try pair.server.watch.wait()
  Promises.check(
    outcome(4) == UInt64(ExocallError.noEntry.number), "one that has ended is refused; the server \(end)")
  check(try pair.client.watch.wait(), "and its connection says so")
  try pair.finish()
}

/// A callee that does not return in time: the caller goes on, and so does the callee.
private func timeout() throws(ExocallError) {
  var pair = try Pair.make(server: serveSums) { _ in
    let words = Pair.words
    do throws(ExocallError) {
      let connection = try Pair.connect()
      guard eventually({ call(connection) }) else { return 8 }
      var asked = message(asks: 1)
      do throws(ExocallError) {
        try connection.call(&asked, deadline: Clock.now + 20_000_000)
        return 2
      } catch { guard error == .timedOut else { return 3 } }
      // It is still at it.
      asked = message(1, 1, 1)
      do throws(ExocallError) {
        try connection.callOnce(&asked)
        return 4
      } catch { guard error == .busy else { return 5 } }
      words[11] = 1
      guard eventually({ words[12] == 1 }) else { return 6 }
      let served = eventually {
        var again = message(1, 2, 3)
        return (try? connection.call(&again)) != nil && again.words.0 == 6
      }
      return served ? 0 : 7
    } catch { return 100 + error.number }
  }
  try pair.start()
  check(try pair.client.watch.wait(), "a call was given up, its callee finished and answers others")
  Promises.check(try pair.server.environment.inspect().state != .ended, "the server lives")
  try pair.finish()
}

/// A callee that is handed the rest of a slice: it answers within that, or goes on alone.
private func handed() throws(ExocallError) {
  var pair = try Pair.make(server: serveSums) { _ in
    let words = Pair.words
    do throws(ExocallError) {
      let connection = try Pair.connect()
      guard eventually({ call(connection) }) else { return 8 }
      var asked = message(20, 21, 1)
      guard try connection.hand(&asked), asked.words.0 == 42 else { return 2 }
      asked = message(asks: 1)
      guard try !connection.hand(&asked), words[12] == 0 else { return 3 }
      words[11] = 1
      guard eventually({ words[12] == 1 }) else { return 4 }
      let served = eventually {
        var again = message(1, 2, 3)
        return (try? connection.call(&again)) != nil && again.words.0 == 6
      }
      return served ? 0 : 5
    } catch { return 100 + error.number }
  }
  try pair.start()
  check(try pair.client.watch.wait(), "a slice was handed over, used up, and its callee finished alone")
  Promises.check(try pair.server.environment.inspect().state != .ended, "the server lives")
  try pair.finish()
}

/// A caller that dies within a call.
private func orphan() throws(ExocallError) {
  var pair = try Pair.make(server: serveSums) { _ in
    guard let connection = try? Pair.connect(), eventually({ call(connection) }) else { return 1 }
    var asked = message(asks: 1)
    try? connection.call(&asked)
    return 2
  }
  let words = pair.page.words
  var second = try Child.make(EnvironmentQuota(frames: 64, bindings: 8), on: 0) { _ in
    guard let connection = try? Pair.connect(at: Pair.Word.secondGate) else { return 1 }
    let served = eventually {
      var asked = message(4, 5, 6)
      return (try? connection.call(&asked)) != nil && asked.words.0 == 15
    }
    return served ? 0 : 2
  }
  try pair.page.give(to: second, [.read, .write])
  words[Pair.Word.secondClient] =
    try second.environment.capability.grant(to: pair.server.environment, .deliver).handle
  try pair.start()
  Promises.check(eventually { words[10] == 2 }, "a caller is in a call")
  try pair.client.environment.end(status: 9)
  let end = try pair.client.watch.wait()
  Promises.check(end == .killed(status: 9), "it was ended: \(end)")
  words[11] = 1
  Promises.check(eventually { words[12] == 1 }, "its call was finished all the same")
  try second.start()
  check(try second.wait(), "and another caller is served")
  try pair.finish()
}

/// A callee that ends within a call.
private func ended() throws(ExocallError) {
  var pair = try Pair.make(server: serveSums) { _ in
    guard let connection = try? Pair.connect(), eventually({ call(connection) }) else { return 1 }
    var asked = message(asks: 2)
    do throws(ExocallError) { try connection.call(&asked) } catch {
      return error == .closedPipe ? 0 : 100 + error.number
    }
    return 2
  }
  try pair.start()
  check(try pair.client.watch.wait(), "a callee that ends within a call is an error")
  let end = try pair.server.watch.wait()
  Promises.check(end == .exited(status: 33), "the server \(end)")
  try pair.finish()
}

/// Both ends learn of the connection, of signals, and of its end, and share a page.
private func signals() throws(ExocallError) {
  var pair = try Pair.make(
    server: { _ in
      do throws(ExocallError) {
        let gate = try Gate.create()
        try Pair.offer(gate)
        var connection: Connection?
        while true {
          Events.wait()
          guard let event = Events.poll(), event.kind == Events.Kind.gate.rawValue else { continue }
          switch event.value & 0x7f {
          case 0: connection = Connection(accepted: event.data)
          case 1:
            guard let connection else { return 2 }
            connection.page.storeBytes(
              of: connection.page.load(as: UInt64.self) + 1, toByteOffset: 64, as: UInt64.self)
            try connection.signal()
          default: return connection?.peer == .closed ? 44 : 3
          }
        }
      } catch { return 100 + error.number }
    },
    client: { _ in
      do throws(ExocallError) {
        let connection = try Pair.connect()
        connection.page.storeBytes(of: 41, as: UInt64.self)
        try connection.signal()
        Events.wait()
        guard let event = Events.poll(), event.kind == Events.Kind.gate.rawValue,
          event.data == connection.number, event.value == 1
        else { return 2 }
        guard connection.page.load(fromByteOffset: 64, as: UInt64.self) == 42 else { return 3 }
        guard eventually({ connection.peer == .asleep }) else { return 4 }
        try connection.close()
        return connection.peer == .none ? 0 : 5
      } catch { return 100 + error.number }
    })
  try pair.start()
  check(try pair.client.watch.wait(), "a signal and its answer went over a shared page")
  let end = try pair.server.watch.wait()
  Promises.check(end == .exited(status: 44), "the other end learned that it was closed: the server \(end)")
  try pair.finish()
}

/// Sleeping until a word of one's own page is what it should be: whoever else has the page wakes the sleeper by a store.
private func predicate() throws(ExocallError) {
  var pair = try Pair.make(
    server: { _ in
      do throws(ExocallError) {
        let frame = try Exocall.frameAllocate(count: 1).owner
        let own = SharedWords(address: SharedPage.second)
        try frame.map(at: own.address, pages: 1, [.read, .write])
        var rule = RegionRule()
        rule.set(.r0, to: 64)
        rule.word(at: .r0, into: .r1)
        rule.set(.r2, to: 7)
        rule.equal(.r1, .r2, into: .r3)
        rule.answer(.r3)
        try Wakeup.bind(rule, page: own.address)
        let client = Environment(
          capability: Capability(handle: Pair.words[Pair.Word.clientOfServer]), number: 0)
        Pair.words[Pair.Word.gateOfClient] =
          try frame.grant(to: client, CapabilityRights([.read, .write])).handle
        var sleeps: UInt64 = 0
        while own[8] != 7 {
          Wakeup.sleep()
          sleeps += 1
        }
        Pair.words[20] = sleeps
        try Wakeup.unbind()
        return 0
      } catch { return 100 + error.number }
    },
    client: { _ in
      do throws(ExocallError) {
        guard eventually({ Pair.words[Pair.Word.gateOfClient] != 0 }) else { return 1 }
        let page = SharedWords(address: SharedPage.second)
        try Capability(handle: Pair.words[Pair.Word.gateOfClient]).map(
          at: page.address, pages: 1, [.read, .write])
        // Not this one.
        page[8] = 6
        let pause = Clock.now + 20_000_000
        _ = eventually { Clock.now > pause }
        page[8] = 7
        return 0
      } catch { return 100 + error.number }
    })
  try pair.start()
  check(try pair.client.watch.wait(), "a word was stored")
  let end = try pair.server.watch.wait()
  Promises.check(
    end == .exited(status: 0) && pair.page.words[20] < 50,
    "its sleeper woke, after \(pair.page.words[20]) sleeps: the server \(end)")
  try pair.finish()
}
