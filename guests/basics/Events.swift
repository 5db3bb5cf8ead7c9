import GuestRuntime
import LibOS

/// Events by handler, in a critical section, and by waiting for them. Each part says what it saw; the guest ends with 0
/// only if all was as promised.
func events() {
  var failures = 0
  func part(_ name: StaticString, _ holds: Bool) {
    print("\(name): \(holds ? "as promised" : "NOT as promised")")
    if !holds { failures += 1 }
  }
  do throws(ExocallError) {
    var seen = 0
    try Events.bind([.timer]) { event in if event.kind == Events.Kind.timer.rawValue { seen += 1 } }
    let second: UInt64 = 1_000_000_000
    /// Computes, without an exocall, until the condition holds or so much time has passed that it never will.
    func compute(until condition: () -> Bool) {
      let end = Clock.now + 20 * second
      while !condition(), Clock.now < end { exo_pause() }
    }

    Events.setTimer(at: Clock.now + second / 500)
    compute { exo_opaque(Int64(seen)) > 0 }
    part("a timer interrupts a computation", exo_opaque(Int64(seen)) == 1)

    var within = -1
    Events.masked {
      // Within: else it may go off before, where the processor is busy.
      Events.setTimer(at: Clock.now + second / 500)
      compute { Events.hasPending }
      within = Int(exo_opaque(Int64(seen)))
    }
    part("nothing enters a critical section", within == 1)
    part("what came meanwhile is handled after it", exo_opaque(Int64(seen)) == 2)

    // A handler that makes exocalls, again and again, under a computation that makes them too.
    try Events.unbind()
    var rounds = 0
    try Events.bind([.timer]) { _ in
      rounds += 1
      if rounds < 20 { Events.setTimer(at: Clock.now + second / 2000) }
    }
    Events.setTimer(at: Clock.now)
    let end = Clock.now + 20 * second
    while exo_opaque(Int64(rounds)) < 20, Clock.now < end { try Exocall.null() }
    part("handlers and the code they interrupt may both make exocalls", exo_opaque(Int64(rounds)) == 20)

    try Events.unbind()
    let due = Clock.now + second / 200
    Events.setTimer(at: due)
    Events.wait()
    let event = Events.poll()
    part("a sleeper wakes by an event", event?.value == due && Clock.now >= due)
    part("an event is taken once", Events.poll() == nil)
  } catch {
    print("refused: \(error)")
    exit(1)
  }
  exit(failures == 0 ? 0 : 1)
}
