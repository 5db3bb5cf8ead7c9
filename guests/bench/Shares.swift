import ExoABI
import GuestRuntime
import LibOS

/// How the processor is divided, and how fast something is given back.
enum Shares {
  /// Two environments own three slots and one, and both compute: by how many percent of the whole the first one's share deviates.
  /// The ticks are hundredths of a percent, the operations 100.
  static func slices(_ command: Command) -> Timing? {
    Board.with { (board) throws(ExocallError) in
      var children: [Child] = []
      defer { for index in children.indices { children[index].end() } }
      for number in 0..<2 as Range<UInt64> {
        let child = try Child.make(
          EnvironmentQuota(frames: 64, capabilities: 64, bindings: 4), on: 0, argument: number, countTurns)
        children.append(child)
        try board.give(to: child)
      }
      // A quarter of the vector cannot be owned: of the rest all of it is.
      let (many, few) = (try Slices.allocate(count: 36), try Slices.allocate(count: 12))
      defer {
        try? many.capability.drop()
        try? few.capability.drop()
      }
      try many.bind(to: children[0].environment)
      try few.bind(to: children[1].environment)
      for child in children { try child.start() }
      // Ten rounds of the vector.
      Events.setTimer(at: Clock.now + 100_000_000)
      Events.wait()
      while Events.poll() != nil {}
      let before = (Duo.load(8), Duo.load(16))
      Events.setTimer(at: Clock.now + 960_000_000)
      Events.wait()
      while Events.poll() != nil {}
      let (first, second) = (Duo.load(8) &- before.0, Duo.load(16) &- before.1)
      guard first + second > 0 else { return nil }
      let share = Int64(first &* 10_000 / (first + second))
      return Timing(UInt64((share - 7500).magnitude), 100)
    }
  }

  /// From the request to the answer, given by an environment that sleeps until it is asked.
  static func revocation(_ command: Command, frames: UInt64) -> Timing? {
    Board.with { (board) throws(ExocallError) in
      var total: UInt64 = 0
      var done: UInt64 = 0
      while done < command.count {
        Duo.store(Duo.Word.free, 0)
        var child = try Child.make(
          EnvironmentQuota(frames: frames + 64, capabilities: 64, bindings: 4), argument: frames, give)
        defer { child.end() }
        try board.give(to: child)
        try child.start()
        // It has what it wants and sleeps until it is asked.
        while true {
          let state = try child.environment.inspect().state
          if state == .ended { return Refusal.because("the environment could not allocate") }
          if state == .waiting, Duo.load(Duo.Word.free) == 1 { break }
        }
        // All that it did not use, first.
        let spare = try child.environment.inspect().framesHeld
        _ = try child.environment.askBack(EXO_KIND_FRAMES, frames + 64 - spare, by: Clock.now).wait()
        let begin = exo_ticks()
        let outcome = try child.environment.askBack(EXO_KIND_FRAMES, frames, by: Clock.now + 1_000_000_000)
          .wait()
        total &+= exo_ticks() &- begin
        guard outcome.given == frames else {
          return Refusal.because("given \(outcome.given) of \(frames)")
        }
        done += 1
      }
      return Timing(total, done)
    }
  }
}

/// Counts turns in the word of its number, for ever.
func countTurns(_ number: UInt64) -> Int32 {
  let word = 8 + Int(number) * 8
  var turns: UInt64 = 0
  while true {
    for _ in 0..<64 { turns = UInt64(bitPattern: exo_opaque(Int64(bitPattern: turns &+ 1))) }
    Duo.store(word, turns)
  }
}

private func give(_ frames: UInt64) -> Int32 {
  do throws(ExocallError) {
    var owned: [Capability] = []
    var have: UInt64 = 0
    owned.reserveCapacity(64)
    while have < frames {
      let grant = try Exocall.frameAllocate(count: frames - have)
      owned.append(grant.owner)
      have += grant.count
    }
    Duo.store(Duo.Word.free, 1)
    while true {
      Events.wait()
      if let event = Events.poll(), event.kind == Events.Kind.revocation.rawValue {
        for capability in owned { try capability.drop() }
        owned = []
      }
    }
  } catch { return 1 }
}
