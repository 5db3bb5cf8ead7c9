import ExoABI
import GuestRuntime
import LibOS

/// Thirty environments that compute, map, call each other, sleep, are stopped, asked for memory and killed, for as many seconds as
/// the first argument says. Each checks its own work all along and ends with a status that says whether it was right.
func soak() {
  let seconds = Arguments.count > 1 ? number(Arguments.all[1]) : 2
  let seed = Arguments.count > 2 ? number(Arguments.all[2]) : 1
  do throws(ExocallError) {
    var soak = try Soak(seed: seed)
    try soak.run(for: seconds * 1_000_000_000)
  } catch { Promises.check(false, "an exocall was refused: \(error)") }
  Promises.finish()
}

private func number(_ text: String) -> UInt64 {
  text.utf8.reduce(0) { $0 &* 10 &+ UInt64($1 &- 0x30) }
}

/// Words of the page that all share: whether it is over; then eight for each place.
private enum Shared {
  static var words: SharedWords { SharedWords(address: SharedPage.first) }
  static var isOver: Bool { words[0] != 0 }
  static func base(_ place: UInt64) -> Int { 8 + Int(place) * 8 }
}

private struct Soak {
  enum Kind: UInt64, CaseIterable { case computes, maps, sleeps, pair }
  /// One environment, or two that belong together.
  struct Member {
    var children: [Child]
    var isStopped = false
  }

  private static var places: UInt64 { 22 }
  private static var quota: EnvironmentQuota { EnvironmentQuota(frames: 96, capabilities: 128, bindings: 8) }
  private var state: UInt64
  private let page: SharedPage
  private var members: [Member] = []
  private var (made, killed, stopped, asked, wrong) = (0, 0, 0, 0, 0)

  init(seed: UInt64) throws(ExocallError) {
    state = seed | 1
    page = try SharedPage.make()
  }

  private mutating func random(_ bound: UInt64) -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return (state >> 11) % bound
  }

  mutating func run(for time: UInt64) throws(ExocallError) {
    let end = Clock.now + time
    for place in 0..<Self.places { members.append(try make(place)) }
    while Clock.now < end {
      let place = random(Self.places)
      switch random(8) {
      case 0, 1: try replace(place)
      case 2: try stopOrResume(place)
      case 3: try ask(place)
      case 4:
        for child in members[Int(place)].children {
          try? Events.post(7, to: child.environment.capability.handle)
        }
      default:
        let pause = Clock.now + 1_000_000
        Events.setTimer(at: pause)
        while Clock.now < pause, !Events.hasPending { Wakeup.sleep() }
        while Events.poll() != nil {}
      }
    }
    page.words[0] = 1
    for place in 0..<Self.places {
      if members[Int(place)].isStopped { try stopOrResume(place) }
      for index in members[Int(place)].children.indices {
        judge(try members[Int(place)].children[index].wait(), mayBeKilled: false)
      }
    }
    Promises.check(
      wrong == 0,
      "\(made) environments, \(killed) killed, \(stopped) stopped, \(asked) asked for memory: \(wrong) went wrong"
    )
    try page.release()
  }

  private mutating func make(_ place: UInt64) throws(ExocallError) -> Member {
    for word in 0..<8 { page.words[Shared.base(place) + word] = 0 }
    func child(_ body: Child.Body, on processor: UInt64? = nil) throws(ExocallError) -> Child {
      let child = try Child.make(Self.quota, on: processor, argument: place, body)
      try page.give(to: child, [.read, .write])
      return child
    }
    var children: [Child]
    switch Kind(rawValue: place % 4)! {
    case .computes: children = [try child(computeUntilOver)]
    case .maps: children = [try child(mapUntilOver)]
    case .sleeps: children = [try child(sleepUntilOver)]
    case .pair:
      let processor = random(2) % UInt64(processors)
      children = [try child(serveUntilOver, on: processor), try child(callUntilOver, on: processor)]
      page.words[Shared.base(place)] =
        try children[1].environment.capability.grant(to: children[0].environment, .deliver).handle
    }
    for child in children { try child.start() }
    made += children.count
    return Member(children: children)
  }

  private mutating func replace(_ place: UInt64) throws(ExocallError) {
    for index in members[Int(place)].children.indices {
      try? members[Int(place)].children[index].environment.end(status: 9)
      judge(try members[Int(place)].children[index].wait(), mayBeKilled: true)
      killed += 1
    }
    members[Int(place)] = try make(place)
  }

  private mutating func stopOrResume(_ place: UInt64) throws(ExocallError) {
    for child in members[Int(place)].children {
      // One that has ended is neither.
      do throws(ExocallError) {
        if members[Int(place)].isStopped {
          try child.environment.resume()
        } else {
          try child.environment.stop()
        }
      } catch { guard error == .busy || error == .noEntry else { throw error } }
    }
    members[Int(place)].isStopped.toggle()
    stopped += 1
  }

  private mutating func ask(_ place: UInt64) throws(ExocallError) {
    // What it has not used: what it uses it needs to check its work.
    guard let child = members[Int(place)].children.first else { return }
    do throws(ExocallError) {
      _ = try child.environment.askBack(EXO_KIND_FRAMES, 1, by: Clock.now).wait()
    } catch { guard error == .noEntry || error == .busy else { throw error } }
    asked += 1
  }

  private mutating func judge(_ end: EnvironmentEnd, mayBeKilled: Bool) {
    if end == .exited(status: 0) || mayBeKilled && end == .killed(status: 9) { return }
    wrong += 1
    print("went wrong: \(end)")
  }
}

/// How many processors the machine has: as many as environments can be made on.
private var processors: Int {
  Arguments.count > 3 ? Int(number(Arguments.all[3])) : 1
}

private func computeUntilOver(_ place: UInt64) -> Int32 {
  var expected: UInt64 = 0
  while !Shared.isOver {
    var sum: UInt64 = place
    var product = 1.0
    for i in 0..<20_000 as Range<UInt64> {
      sum = sum &* 6_364_136_223_846_793_005 &+ i
      product = product * 1.000001 + 0.5
    }
    let seen = sum ^ product.bitPattern
    if expected == 0 { expected = seen }
    guard seen == expected else { return 12 }
  }
  return 0
}

private func mapUntilOver(_ place: UInt64) -> Int32 {
  let base: UInt64 = 0x6300_0000_0000
  var turn: UInt64 = 0
  while !Shared.isOver {
    turn &+= 1
    do throws(ExocallError) {
      let grant = try Exocall.frameAllocate(count: 1 + turn % 5)
      try grant.owner.map(at: base, pages: grant.count, [.read, .write])
      for page in 0..<grant.count {
        let words = SharedWords(address: base + page << 12)
        guard words[0] == 0, words[511] == 0 else { return 22 }
        words[0] = turn ^ page
        words[511] = ~turn
      }
      try Exocall.protect(base, pages: grant.count, rights: .read)
      for page in 0..<grant.count {
        let words = SharedWords(address: base + page << 12)
        guard words[0] == turn ^ page, words[511] == ~turn else { return 23 }
      }
      try Exocall.unmap(base, pages: grant.count)
      try grant.owner.drop()
    } catch {
      // What was asked back of its quota is missing now.
      guard error == .quotaExceeded || error == .outOfMemory else { return 100 + error.number }
    }
  }
  return 0
}

private func sleepUntilOver(_ place: UInt64) -> Int32 {
  while !Shared.isOver {
    let time = Clock.now + 500_000 + place * 10_000
    Events.setTimer(at: time)
    var seen = false
    while !seen {
      Events.wait()
      while let event = Events.poll() {
        if event.kind == Events.Kind.timer.rawValue { seen = true }
      }
    }
    // The exposed clock and the exokernel's drift apart (CAVEATS).
    guard Clock.now + 20_000_000 >= time else { return 32 }
  }
  return 0
}

/// How a client or a server ends that finds the other killed before it.
private func statusWithoutPeer(_ error: ExocallError) -> Int32 {
  error == .stale || error == .noEntry || error == .badCapability ? 0 : 100 + error.number
}

private func serveUntilOver(_ place: UInt64) -> Int32 {
  let base = Shared.base(place)
  do throws(ExocallError) {
    let gate = try Gate.create()
    let client = Environment(capability: Capability(handle: Shared.words[base]), number: 0)
    Shared.words[base + 1] = try gate.capability.grant(to: client, .call).handle
    Events.setTimer(at: Clock.now + 5_000_000)
    // The client lets go when it is over, or never came.
    Gate.serve(
      attend: { event in
        if event.kind == Events.Kind.timer.rawValue { Events.setTimer(at: Clock.now + 5_000_000) }
        return !Shared.isOver
          && (event.kind != Events.Kind.gate.rawValue || event.value != UInt64(EXO_GATE_CLOSED))
      },
      { message in message.words.0 = message.words.0 &* 3 &+ message.words.1 })
    return 0
  } catch {
    return statusWithoutPeer(error)
  }
}

private func callUntilOver(_ place: UInt64) -> Int32 {
  let words = Shared.words
  let base = Shared.base(place)
  while words[base + 1] == 0 {
    if Shared.isOver { return 0 }
    exo_yield(Startup.page.pointee.doorbell, 0)
  }
  do throws(ExocallError) {
    let connection = try Connection.open(Capability(handle: words[base + 1]))
    var turn: UInt64 = 0
    while !Shared.isOver {
      turn &+= 1
      var message = Message()
      message.words.0 = turn
      message.words.1 = place
      do throws(ExocallError) {
        try connection.call(&message, deadline: turn % 16 == 0 ? Clock.now + 200_000 : nil)
        guard message.words.0 == turn &* 3 &+ place else { return 42 }
      } catch { guard error == .timedOut || error == .noEntry || error == .closedPipe else { throw error } }
    }
    try connection.close()
    return 0
  } catch { return statusWithoutPeer(error) }
}
