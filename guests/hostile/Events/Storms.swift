import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// Attacks by what is allowed, as often as can be: whoever shares the processor, the service thread or a ring with them
/// must get on all the same.
extension Attack {
  static var storms: [Attack] {
    [doorbellStorm, exceptionStorm, eventStorm, callStorm, yieldCycle, deaf, deafToSliceEnds, keeps]
  }

  /// For how long a storm lasts.
  private static var storm: UInt64 { 300_000_000 }
  private static func whileStorming(_ body: () -> Void) {
    let end = Clock.now + storm
    while Clock.now < end { body() }
  }

  static var doorbellStorm: Attack {
    Attack("doorbell-storm", "Rings every doorbell for nothing and leaves guest mode as often as it can.") {
      whileStorming {
        hostile_doorbell(UInt32(EXO_DOORBELL_WAKE), 0)
        hostile_doorbell(UInt32(EXO_DOORBELL_SERVE), 0)
        hostile_doorbell(UInt32(EXO_DOORBELL_DECLINE), 0)
        // Posted long ago, so that it is no sleep.
        hostile_doorbell(UInt32(EXO_DOORBELL_WAIT), 1)
        hostile_yield(0)
        hostile_yield(.max)
      }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  static var exceptionStorm: Attack {
    Attack("exception-storm", "Raises exceptions without a pause, on both kinds of gates.") {
      catchExceptions()
      whileStorming {
        for _ in 0..<64 {
          expect(attempt(hostile_breakpoint)?.vector == 3, "a breakpoint went elsewhere")
          expectFault(hostile_load, at: Place.scratch, "a page that is not there")
          expect(attempt(hostile_port_read, 0x60)?.vector == 13, "a port is readable")
        }
      }
    }
  }

  /// More events than any ring holds, from every side, to environments that take none.
  static var eventStorm: Attack {
    Attack("event-storm", "Two children flood each other and their parent with messages that nobody takes.") {
      let page = sharedPage()
      var first = child(flood, on: 0, argument: 0)
      var second = child(flood, on: 1, argument: 1)
      share(page, with: first, second)
      // Each is told what it calls the other.
      page.words[1] = granted(second, to: first)
      page.words[2] = granted(first, to: second)
      page.words[0] = 1
      whileStorming {
        try? Events.post(1, to: first.environment.capability.handle)
        try? Events.post(2, to: second.environment.capability.handle)
        Events.setTimer(at: 1)
      }
      page.words[0] = 2
      expectEnd(&first, 0, "the first")
      expectEnd(&second, 0, "the second")
      expect(page.words[3] > 0 && page.words[4] > 0, "no event was posted")
      Events.setTimer(at: nil)
      discard(page, &first, &second)
    }
  }

  static var callStorm: Attack {
    Attack("call-storm", "Connects, calls, signals and disconnects as fast as it can.") {
      var pair: Pair
      do throws(ExocallError) {
        pair = try Pair.make(server: patientServer, client: stormingClient)
        try pair.start()
      } catch { unable("two children: \(error)") }
      expectEnd(&pair.client, 0, "the client")
      try? pair.server.environment.end(status: 0)
      try? pair.finish()
    }
  }

  /// Two that hand the rest of a slice to and fro: it must come to an end, and a third to its turn.
  static var yieldCycle: Attack {
    Attack("yield-cycle", "Two yield to each other without end, beside a third on the same processor.") {
      let page = sharedPage()
      var (first, second, third) = (child(yielder, argument: 0), child(yielder, argument: 1), child(counter))
      share(page, with: first, second, third)
      page.words[1] = granted(second, to: first)
      page.words[2] = granted(first, to: second)
      page.words[0] = 1
      expect(eventually { page.words[3] > 1000 }, "the third has no turn")
      page.words[0] = 2
      expectEnd(&first, 0, "the first")
      expectEnd(&second, 0, "the second")
      expectEnd(&third, 0, "the third")
      discard(page, &first, &second)
      third.release()
    }
  }

  /// Its soft mask is never cleared.
  static var deaf: Attack {
    Attack("deaf", "Asks for every event and keeps them masked for ever: it loses its slices all the same.") {
      let bound: Void? = try? Events.bind([.sliceEnd, .revocation, .childEnded, .message, .timer, .gate]) {
        _ in
      }
      expect(bound != nil, "binding is refused")
      hostile_write32(exo_kit_trap + UInt64(EXO_CONTROL_OFFSET), 1)
      Events.setTimer(at: 1)
      while true { hostile_pause() }
    }
  }

  static var deafToSliceEnds: Attack {
    Attack("deaf-to-slice-ends", "Is told that its slice is over, and goes on.") {
      let bound: Void? = try? Events.bind([.sliceEnd]) { _ in }
      expect(bound != nil, "binding is refused")
      while true { hostile_pause() }
    }
  }

  /// A child that is asked for everything it has, again and again, and takes back at once what it can.
  static var keeps: Attack {
    Attack(
      "keeps", "Ignores what it is asked back, sleeps under a predicate, and takes what was taken again."
    ) {
      let page = sharedPage()
      var child = child(hoarder)
      share(page, with: child)
      page.words[0] = 1
      expect(eventually { page.words[1] > 0 }, "the child has not begun")
      let kinds = [EXO_KIND_FRAMES, EXO_KIND_SLICES, EXO_KIND_ENVIRONMENT, EXO_KIND_GATE, EXO_KIND_REGION]
      for round in 0..<40 as Range<UInt64> {
        let kind = kinds[Int(round) % kinds.count]
        do throws(ExocallError) {
          let answer = try child.environment.askBack(kind, 1 + round % 7, by: Clock.now + round % 3 * 400_000)
          let (given, taken) = try answer.wait()
          expect(given + taken <= 1 + round % 7, "\(given) given and \(taken) taken")
        } catch {
          let isAnswer = error == .busy || error == .noSpace || error == .invalid || error == .noEntry
          expect(isAnswer, "asking back: \(error)")
        }
      }
      // What is left of it lives, and ends when told.
      try? child.environment.end(status: 9)
      guard let end = try? child.watch.wait() else { unable("an end is lost") }
      expect(end == .killed(status: 9), "the child: \(end)")
      child.release()
      try? page.release()
    }
  }
}

// --- the parent's side

private let quota = EnvironmentQuota(frames: 64, capabilities: 128, bindings: 8)

private func child(_ body: LibOS.Child.Body, on processor: UInt64 = 0, argument: UInt64 = 0) -> LibOS.Child {
  for place in [processor, 0] {
    do throws(ExocallError) { return try LibOS.Child.make(quota, on: place, argument: argument, body) } catch
    {
      // The machine may have one processor.
      if error == .invalid, place != 0 { continue }
      unable("a child: \(error)")
    }
  }
  unable("a child")
}
private func sharedPage() -> SharedPage {
  do throws(ExocallError) { return try SharedPage.make() } catch { unable("a page: \(error)") }
}
/// Maps the page in all of them and starts them.
private func share(_ page: SharedPage, with children: LibOS.Child...) {
  do throws(ExocallError) {
    for child in children { try page.give(to: child, [.read, .write]) }
    for child in children { try child.start() }
  } catch { unable("starting a child: \(error)") }
}
private func granted(_ child: LibOS.Child, to other: LibOS.Child) -> UInt64 {
  do throws(ExocallError) {
    return try child.environment.capability.grant(to: other.environment, .deliver).handle
  } catch { unable("a capability to a child: \(error)") }
}
private func discard(_ page: SharedPage, _ children: inout LibOS.Child, _ other: inout LibOS.Child) {
  children.release()
  other.release()
  try? page.release()
}

// --- in the children

private var shared: SharedWords { SharedWords(address: SharedPage.first) }
private func awaitStart() { while shared[0] == 0 { exo_pause() } }

private func flood(_ which: UInt64) -> Int32 {
  awaitStart()
  let other = shared[Int(which) + 1]
  var posted: UInt64 = 0
  while shared[0] == 1 {
    do throws(ExocallError) {
      try Events.post(posted, to: other)
      posted &+= 1
    } catch {
      // Full, or gone already.
      guard error == .noSpace || error == .noEntry else { return 2 }
    }
    shared[Int(which) + 3] = posted
  }
  return 0
}

private func patientServer(_ argument: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil else { return 1 }
  Gate.serve { $0.words.0 &+= 1 }
  return 0
}

private func stormingClient(_ argument: UInt64) -> Int32 {
  guard (try? Pair.connect()) != nil else { return 1 }
  let gate = Capability(handle: Pair.words[Pair.Word.gateOfClient])
  let end = Clock.now + 300_000_000
  var answered: UInt64 = 0
  while Clock.now < end {
    do throws(ExocallError) {
      let connection = try Connection.open(gate)
      for turn in 0..<8 as Range<UInt64> {
        var message = Message()
        message.words.0 = turn
        try connection.call(&message)
        guard message.words.0 == turn + 1 else { return 2 }
        answered &+= 1
        try connection.signal()
      }
      try connection.close()
    } catch {
      // The other end lets go of nothing: its places run out.
      guard error == .noSpace || error == .quotaExceeded || error == .busy else { return 100 + error.number }
      exo_yield(Startup.page.pointee.doorbell, 0)
    }
  }
  return answered > 0 ? 0 : 3
}

private func yielder(_ which: UInt64) -> Int32 {
  awaitStart()
  let other = shared[Int(which) + 1]
  while shared[0] == 1 { exo_yield(Startup.page.pointee.doorbell, other) }
  return 0
}

private func counter(_ argument: UInt64) -> Int32 {
  awaitStart()
  while shared[0] == 1 { shared[3] &+= 1 }
  return 0
}

/// Holds frames, slots and a predicate, and allocates more whenever it is let.
private func hoarder(_ argument: UInt64) -> Int32 {
  awaitStart()
  let address: UInt64 = 0x6100_0000_0000
  if let own = try? Exocall.frameAllocate(count: 1).owner,
    (try? own.map(at: address, pages: 1, [.read, .write])) != nil
  {
    var never = RegionRule()
    never.set(.r0, to: 0)
    never.answer(.r0)
    try? Wakeup.bind(never, page: address)
  }
  while true {
    _ = try? Exocall.frameAllocate(count: 1)
    _ = try? Slices.allocate(count: 1)
    _ = try? Gate.create()
    shared[1] &+= 1
  }
}
