import GuestRuntime
import LibOS

/// Calls through a gate to an environment on the same processor.
enum Transfers {
  /// A call and its return are two transfers.
  static func oneWay(_ command: Command) -> Timing? {
    guard var timing = call(command) else { return nil }
    timing.operations *= 2
    return timing
  }

  static func call(_ command: Command) -> Timing? {
    Duo.run(command, server: serveIncrements) { _ in
      guard let connection = ready() else { return 1 }
      var message = Message()
      let timing = timed(Duo.load(Duo.Word.count)) { try? connection.call(&message) }
      return message.words.0 == timing.operations ? Duo.report(timing) : 2
    }
  }

  /// The callee might keep the processor for the rest of the slice, and does not.
  static func handing(_ command: Command) -> Timing? {
    var timing = Duo.run(command, server: serveIncrements) { _ in
      guard let connection = ready() else { return 1 }
      var message = Message()
      var answered: UInt64 = 0
      // Once in a slice its end comes within a call, which is given up.
      let timing = timed(Duo.load(Duo.Word.count)) {
        if (try? connection.hand(&message)) == true { answered &+= 1 }
      }
      guard message.words.0 == answered, answered &* 50 >= timing.operations &* 49 else { return 2 }
      return Duo.report(timing)
    }
    timing?.operations *= 2
    return timing
  }

  static func callTrusting(_ command: Command) -> Timing? {
    Duo.run(command, server: serveIncrements) { _ in
      guard let connection = ready() else { return 1 }
      var message = Message()
      let timing = timed(Duo.load(Duo.Word.count)) { try? connection.callTrusting(&message) }
      return message.words.0 == timing.operations ? Duo.report(timing) : 2
    }
  }
}

extension Transfers {
  /// The clock's ticks for eight calls and their returns, each by itself.
  static func count(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    counted(ticks, by: serveIncrements) { _ in
      guard let connection = ready() else { return 1 }
      var message = Message()
      return readings { try? connection.call(&message) }
    }
  }

  static func countHanding(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    counted(ticks, by: serveIncrements) { _ in
      guard let connection = ready() else { return 1 }
      var message = Message()
      return readings { _ = try? connection.hand(&message) }
    }
  }

  static func countTrusting(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    counted(ticks, by: serveIncrements) { _ in
      guard let connection = ready() else { return 1 }
      var message = Message()
      return readings { try? connection.callTrusting(&message) }
    }
  }

  /// Has the client's readings, which it took by itself.
  static func counted(
    _ ticks: UnsafeMutablePointer<UInt32>, by server: Child.Body, client: Child.Body
  ) -> Bool {
    let timing = Duo.run(Command(row: "", count: 16), server: server, client: client) {
      for run in 0..<8 { ticks[run] = UInt32(truncatingIfNeeded: Duo.load(Duo.Word.free + run)) }
    }
    return timing != nil
  }
}

/// Lines shared by environments on two processors. Nothing of the exokernel is on the way.
enum Lines {
  static func roundTrip(_ command: Command) -> Timing? {
    Duo.run(command, serverOn: 1, server: echoLines) { _ in
      guard let connection = try? Duo.connect(), !connection.isLocal else { return 1 }
      let page = UInt64(UInt(bitPattern: connection.page))
      var turn: UInt32 = 0
      let once = {
        turn &+= 1
        exo_release32(page, turn)
        while exo_load32(page + 64) != turn {}
      }
      once()
      let timing = timed(Duo.load(Duo.Word.count), once)
      exo_release32(page, .max)
      return Duo.report(timing)
    }
  }

  static func oneWay(_ command: Command) -> Timing? {
    guard var timing = roundTrip(command) else { return nil }
    timing.operations *= 2
    return timing
  }
}

/// In the client: sixteen runs, of which the last eight stay in the page.
func readings(_ operation: () -> Void) -> Int32 {
  for run in 0..<16 {
    let begin = exo_ticks()
    operation()
    Duo.store(Duo.Word.free + run & 7, exo_ticks() &- begin)
  }
  return Duo.report(Timing(0, 16))
}

private func serveIncrements(_ argument: UInt64) -> Int32 {
  do throws(ExocallError) {
    try Duo.offer(try Gate.create())
    Gate.serve { message in message.words.0 &+= 1 }
  } catch { return 1 }
  return 0
}

private func echoLines(_ argument: UInt64) -> Int32 {
  do throws(ExocallError) {
    try Duo.offer(try Gate.create())
    var connection: Connection?
    while connection == nil {
      Events.wait()
      if let event = Events.poll(), event.kind == Events.Kind.gate.rawValue {
        connection = Connection(accepted: event.data)
      }
    }
    guard let page = connection.map({ UInt64(UInt(bitPattern: $0.page)) }) else { return 1 }
    var last: UInt32 = 0
    while true {
      let now = exo_load32(page)
      if now == last { continue }
      if now == .max { return 0 }
      exo_release32(page + 64, now)
      last = now
    }
  } catch { return 1 }
}

/// Connected to a server that has had its events and waits for nothing but calls.
private func ready() -> Connection? {
  guard let connection = try? Duo.connect() else { return nil }
  var message = Message()
  for _ in 0..<3 {
    guard (try? connection.call(&message)) != nil else { return nil }
    exo_yield(Startup.page.pointee.doorbell, 0)
  }
  return connection
}
