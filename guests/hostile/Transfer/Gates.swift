import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// Attacks on control transfer. Clients and servers are children of the LibOS's kind, with data of their own.
extension Attack {
  static var transfer: [Attack] { [gates, strayReturns, oddLeaves, cycles, races, deadGates, visits] }

  /// Entries where none can be, gates without one, connections that are none, any number in RAX.
  static var gates: Attack {
    Attack("gates", "Binds entries where none can be, transfers with any number in RAX.") {
      expectRefused(exocall(EXO_CALL_gate_create), EXO_ENOENT, for: "a gate without an entry")
      expectRefused(exocall(EXO_CALL_transfer_bind, 0), EXO_ENOENT, for: "unbinding nothing")
      Pages(1).map(at: Place.scratch)
      for entry in [
        1, 0xffff, Place.scratch, Place.scratch + 0x10_0000, exo_nucleus_text,
        exo_nucleus_text + UInt64(EXO_NUCLEUS_TRANSFER_STUB), exo_kit_trap, exo_kit_doorbell, exo_kit_lines,
        0x8000_0000_0000, .max, 1 << 63,
      ] {
        expectRefused(exocall(EXO_CALL_transfer_bind, entry), EXO_EFAULT, for: "an entry at \(entry)")
      }
      expect(exocall(EXO_CALL_transfer_bind, hostile_transfer_entry_address()) == 0, "binding is refused")
      expectRefused(
        exocall(EXO_CALL_exception_bind, 4, hostile_transfer_entry_address(), hostile_stack_top(4)),
        EXO_EBUSY,
        for: "binding what transfers need")
      var numbers = Numbers(state: 77)
      for turn in 0..<2000 as Range<UInt64> {
        let rax = turn < 256 ? turn : numbers.next()
        let badge = hostile_transfer(rax) & 0xfff
        let number = rax / UInt64(EXO_TRANSFER_SLOT_SIZE) % UInt64(EXO_CONNECTIONS)
        let refused = number << UInt64(EXO_TRANSFER_NUMBER_SHIFT) | UInt64(EXO_TRANSFER_REFUSED)
        expect(badge == refused, "transfer \(rax) came back with \(badge)")
      }
      for number: UInt64 in [0, 1, 62, 63, 64, 1 << 32, .max] {
        expectRefused(exocall(EXO_CALL_gate_disconnect, number), EXO_ENOENT, for: "disconnecting \(number)")
        expectRefused(exocall(EXO_CALL_gate_signal, number), EXO_ENOENT, for: "signalling \(number)")
      }
      let gate = exocall(EXO_CALL_gate_create)
      expect(gate > 0, "a gate is refused")
      expectRefused(exocall(EXO_CALL_gate_connect, UInt64(gate)), EXO_EINVAL, for: "a gate of one's own")
      for handle: UInt64 in [0, 1, .max, UInt64(gate) ^ 1 << 40] {
        expectRefused(
          exocall(EXO_CALL_gate_connect, handle), EXO_EBADF, EXO_ESTALE, for: "connecting to \(handle)")
      }
      expectRefused(exocall(EXO_CALL_transfer_bind, 0), EXO_EBUSY, for: "unbinding under a gate")
      hostile_write(Place.scratch, 1)
      expect(hostile_read(Place.scratch) == 1, "memory is not what it was")
    }
  }

  /// A server that comes back uninvited, again and again, into a client that computes.
  static var strayReturns: Attack {
    Attack("stray-returns", "Returns to a client that waits for nothing, and twice to one that does.") {
      var pair = mounted(server: strayServer, client: countingClient)
      expectEnd(&pair.client, 0, "the client")
      expect(pair.page.words[20] > 0, "no return was tried")
      pair.discard()
    }
  }

  /// Two that call each other from within a call.
  static var cycles: Attack {
    Attack("cycles", "Calls back into its caller, from within the call.") {
      var pair = mounted(server: cyclicServer, client: cyclicClient)
      expectEnd(&pair.client, 0, "the client")
      pair.discard()
    }
  }

  /// Time-outs of a few microseconds against answers that take as long.
  static var races: Attack {
    Attack("call-races", "Gives calls up at about the time that they return.") {
      var pair = mounted(server: slowServer, client: hastyClient)
      expectEnd(&pair.client, 0, "the client")
      pair.discard()
    }
  }

  /// Servers that die at any time of a call.
  static var deadGates: Attack {
    Attack("dead-gates", "Ends servers and clients at any point of a call, and calls the dead.") {
      for round in 0..<12 as Range<UInt64> {
        var pair = mounted(server: slowServer, client: tirelessClient)
        // Before that there is no gate to die behind.
        expect(eventually { Pair.words[Pair.Word.free] != 0 }, "the two never met")
        let pause = Clock.now + round * 170_000
        while Clock.now < pause { exo_pause() }
        let victim = round % 2 == 0 ? pair.server : pair.client
        expect((try? victim.environment.end(status: 9)) != nil, "ending is refused")
        if round % 2 == 0 { expectEnd(&pair.client, 0, "the client of a dead server") }
        pair.discard()
      }
    }
  }
}

func mounted(
  argument: UInt64 = 0, isApart: Bool = false, server: LibOS.Child.Body, client: LibOS.Child.Body
) -> Pair {
  do throws(ExocallError) {
    let pair = try Pair.make(argument: argument, isApart: isApart, server: server, client: client)
    try pair.start()
    return pair
  } catch { unable("two children: \(error)") }
}

func expectEnd(_ child: inout LibOS.Child, _ status: UInt8, _ who: String) {
  guard let end = try? child.watch.wait() else { unable("an end is lost") }
  expect(end == .exited(status: status), "\(who): \(end)")
}

extension Pair {
  mutating func discard() { try? finish() }
}

// --- in the children

func accepted() -> Connection? {
  while true {
    Events.wait()
    if let event = Events.poll(), event.kind == Events.Kind.gate.rawValue {
      return Connection(accepted: event.data)
    }
  }
}

private func strayServer(_ argument: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil, let connection = accepted() else {
    return 1
  }
  var tries: UInt64 = 0
  while true {
    var message = Message()
    message.words.0 = 0xbad
    // Comes back: the client sends the virtual processor home.
    _ = try? connection.callOnce(&message)
    tries &+= 1
    Pair.words[20] = tries
  }
}

private func countingClient(_ argument: UInt64) -> Int32 {
  guard (try? Pair.connect()) != nil else { return 1 }
  var sum: UInt64 = 0
  var turns: UInt64 = 0
  while Pair.words[20] < 200, turns < 1 << 36 {
    for i in 0..<1000 as Range<UInt64> { sum = sum &+ i &* 3 }
    turns &+= 1
    if turns % 64 == 0 { exo_yield(Startup.page.pointee.doorbell, 0) }
  }
  return sum == turns &* 1_498_500 ? 0 : 2
}

private func cyclicServer(_ argument: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil else { return 1 }
  Gate.serve { message in
    var inner = Message()
    // Into the caller, by the way back, before this call has returned; and into itself by any number.
    let status = exo_transfer_call(0, &inner)
    message.words.0 &+= status < 0 ? 1 : 1000
    for number in 1..<63 as Range<UInt32> where exo_transfer_call(number, &inner) >= 0 {
      message.words.0 &+= 1000
    }
  }
  return 0
}

private func cyclicClient(_ argument: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 1 }
  for _ in 0..<50 {
    var message = Message()
    // The way back was used up by the return within: the answer is the exokernel's or the server's, and never both.
    let answer: Void? = try? connection.call(&message, deadline: Clock.now + 3_000_000)
    if answer != nil, message.words.0 > 1 { return 2 }
  }
  return 0
}

private func slowServer(_ argument: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil else { return 1 }
  Gate.serve { message in
    let end = exo_ticks() &+ message.words.1
    while exo_ticks() < end {}
    message.words.0 = message.words.0 &* 3
  }
  return 0
}

private func hastyClient(_ argument: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 1 }
  var numbers = Numbers(state: 99)
  var (given, up) = (UInt64(0), UInt64(0))
  for turn in 0..<300 as Range<UInt64> {
    var message = Message()
    message.words.0 = turn
    // Longer where the exokernel is slow to notice that the time is over.
    message.words.1 = (numbers.next() % 400_000) << (up == 0 ? turn / 60 : 0)
    do throws(ExocallError) {
      try connection.callOnce(&message, deadline: Clock.now + numbers.next() % 120_000)
      guard message.words.0 == turn &* 3 else { return 2 }
      given &+= 1
    } catch {
      switch error {
      case .timedOut: up &+= 1
      case .busy: exo_yield(Startup.page.pointee.doorbell, 0)
      default: return 100 + error.number
      }
    }
  }
  Pair.words[20] = up
  // It serves yet.
  var message = Message()
  message.words.0 = 5
  do throws(ExocallError) { try connection.call(&message) } catch { return 3 }
  return message.words.0 == 15 ? 0 : 4
}

private func tirelessClient(_ argument: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 0 }
  while true {
    var message = Message()
    message.words.0 = 2
    message.words.1 = 100_000
    do throws(ExocallError) {
      try connection.call(&message)
      guard message.words.0 == 6 else { return 2 }
      Pair.words[Pair.Word.free] = 1
    } catch {
      // The server has ended, before or within the call.
      guard error == .noEntry || error == .closedPipe else { return 3 }
      return 0
    }
  }
}
