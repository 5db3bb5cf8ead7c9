import ExoABI
import GuestRuntime
import LibOS

/// Memory is short: children are asked for frames, with a deadline. Each does as it likes, and all live.
func pressure() {
  Promises.part("unused", unused)
  Promises.part("gives", gives)
  Promises.part("half", half)
  Promises.part("refuses", refuses)
  Promises.part("slices", slices)
  Promises.finish()
}

/// Words of the page shared with a child.
private enum Word { static let ready = 0, finish = 1, lost = 2, recorded = 3, given = 4 }
/// What a child takes for itself, and may have: its kit and tables come to some twenty frames more.
private let taken: UInt64 = 60
private let quota = EnvironmentQuota(frames: 100, capabilities: 200, bindings: 8)

private func ask(
  _ child: Child.Body, for frames: UInt64, within milliseconds: UInt64,
  check: (Child, SharedWords, _ given: UInt64, _ taken: UInt64) throws(ExocallError) -> Void
) throws(ExocallError) {
  let page = try SharedPage.make()
  var child = try Child.make(quota, child)
  try page.give(to: child, [.read, .write])
  try child.start()
  Promises.check(eventually { page.words[Word.ready] == 1 }, "a child took what it could get")
  let answer = try child.environment.askBack(
    EXO_KIND_FRAMES, frames, by: Clock.now + milliseconds * 1_000_000)
  let outcome = try answer.wait()
  try check(child, page.words, outcome.given, outcome.taken)
  page.words[Word.finish] = 1
  let end = try child.wait()
  Promises.check(end == .exited(status: 0), "the child lived: \(end)")
  try page.release()
}

/// Frames one by one, each mapped at its own address and marked.
private struct Hoard {
  static var base: UInt64 { 0x6200_0000_0000 }
  var owners: [Capability] = []

  static func make() throws(ExocallError) -> Hoard {
    var hoard = Hoard()
    // The youngest frames are taken first: those of the heap are to be older.
    hoard.owners.reserveCapacity(Int(taken))
    for number in 0..<taken {
      let grant = try Exocall.frameAllocate(count: 1)
      try grant.owner.map(at: base + number << 12, pages: 1, [.read, .write])
      SharedWords(address: base + number << 12)[0] = number
      hoard.owners.append(grant.owner)
    }
    return hoard
  }
  mutating func giveLast() throws(ExocallError) {
    guard let last = owners.popLast() else { return }
    try Exocall.unmap(Self.base + UInt64(owners.count) << 12, pages: 1)
    // It may have been taken by now.
    do throws(ExocallError) { try last.drop() } catch { guard error == .stale else { throw error } }
  }
}

private func unused() throws(ExocallError) {
  let page = try SharedPage.make()
  var child = try Child.make(quota) { _ in
    while SharedWords(address: SharedPage.first)[Word.finish] == 0 { exo_pause() }
    return 0
  }
  try page.give(to: child, [.read, .write])
  try child.start()
  let outcome = try child.environment.askBack(EXO_KIND_FRAMES, 40, by: Clock.now).wait()
  Promises.check(
    outcome.given == 40 && outcome.taken == 0, "what a child has not used is given back without asking it")
  page.words[Word.finish] = 1
  let end = try child.wait()
  Promises.check(end == .exited(status: 0), "the child lived: \(end)")
  try page.release()
}

/// Waits to be asked and gives all, or half, of what is owed.
private func give(half: Bool) -> Int32 {
  let words = SharedWords(address: SharedPage.first)
  do throws(ExocallError) {
    var hoard = try Hoard.make()
    words[Word.ready] = 1
    while true {
      Events.wait()
      if let event = Events.poll(), event.kind == Events.Kind.revocation.rawValue { break }
    }
    guard let request = Revocation.pending, request.kind == UInt32(EXO_KIND_FRAMES), request.owed > 0 else {
      return 2
    }
    let share = half ? request.owed / 2 : request.owed
    for _ in 0..<share { try hoard.giveLast() }
    words[Word.given] = share
    while words[Word.finish] == 0 { exo_pause() }
    words[Word.recorded] = UInt64(Revocation.repossessions)
    return Revocation.pending == nil ? 0 : 3
  } catch { return 100 + error.number }
}

private func gives() throws(ExocallError) {
  try ask(
    { _ in give(half: false) }, for: 60, within: 5000,
    check: { (_, words, given, taken) throws(ExocallError) in
      Promises.check(
        given == 60 && taken == 0 && eventually { words[Word.given] > 0 },
        "asked for 60 frames, it gave \(given) and lost \(taken)")
    })
}

private func half() throws(ExocallError) {
  try ask(
    { _ in give(half: true) }, for: 60, within: 100,
    check: { (_, words, given, taken) throws(ExocallError) in
      Promises.check(
        given + taken == 60 && taken > 0,
        "asked for 60, it gave \(given); past the deadline \(taken) were taken")
    })
}

/// Ignores the request and goes on using its pages: those that were taken fault, and the vector says which they were.
private func refuse(_ argument: UInt64) -> Int32 {
  let words = SharedWords(address: SharedPage.first)
  do throws(ExocallError) {
    let stack = try Exocall.frameAllocate(count: 4)
    let low: UInt64 = 0x6100_0000_0000
    try stack.owner.map(at: low, pages: stack.count, [.read, .write])
    try Exceptions.bind(.pageFault, stackTop: low + stack.count << 12) { frame in
      let words = SharedWords(address: SharedPage.first)
      words[Word.lost] &+= 1
      frame.rip = frame.r11
    }
    _ = try Hoard.make()
    words[Word.ready] = 1
    while words[Word.finish] == 0 {
      words[Word.lost] = 0
      for number in 0..<taken { exo_raise_page_fault(Hoard.base + number << 12) }
    }
    words[Word.lost] = 0
    for number in 0..<taken { exo_raise_page_fault(Hoard.base + number << 12) }
    var recorded: UInt64 = 0
    for number in 0..<Revocation.repossessions {
      let entry = Revocation.repossession(number)
      if entry.kind == UInt32(EXO_KIND_FRAMES) { recorded += UInt64(entry.count) }
    }
    words[Word.recorded] = recorded
    return words[Word.lost] == recorded && recorded > 0 ? 0 : 4
  } catch { return 100 + error.number }
}

private func refuses() throws(ExocallError) {
  try ask(
    refuse, for: 50, within: 30,
    check: { (_, words, given, taken) throws(ExocallError) in
      Promises.check(given + taken == 50 && taken > 0, "asked for 50 and deaf, \(taken) were taken from it")
    })
}

/// Slots of the slice vector, which no quota counts.
private func slices() throws(ExocallError) {
  let page = try SharedPage.make()
  var child = try Child.make(quota, on: 0) { _ in
    let words = SharedWords(address: SharedPage.first)
    guard let first = try? Slices.allocate(count: 4), (try? Slices.allocate(count: 4)) != nil else {
      return 2
    }
    words[Word.ready] = 1
    while true {
      Events.wait()
      if let event = Events.poll(), event.kind == Events.Kind.revocation.rawValue { break }
    }
    guard (try? first.capability.drop()) != nil else { return 3 }
    while words[Word.finish] == 0 { exo_pause() }
    return Revocation.repossessions == 1 ? 0 : 4
  }
  try page.give(to: child, [.read, .write])
  try child.start()
  Promises.check(eventually { page.words[Word.ready] == 1 }, "a child owns 8 slots")
  let outcome = try child.environment.askBack(EXO_KIND_SLICES, 8, by: Clock.now + 100_000_000).wait()
  Promises.check(
    outcome.given == 4 && outcome.taken == 4,
    "asked for 8, it gave \(outcome.given), \(outcome.taken) were taken")
  page.words[Word.finish] = 1
  let end = try child.wait()
  Promises.check(end == .exited(status: 0), "the child lived: \(end)")
  try page.release()
}
