import LibOS

/// Makes children out of its own text and governs them.
func family() {
  Promises.part("computes", computes)
  Promises.part("together", together)
  Promises.part("faults", faults)
  Promises.part("stops", stops)
  Promises.part("killed", killed)
  Promises.part("given up", givenUp)
  Promises.part("shares", shares)
  Promises.part("revokes", revokes)
  Promises.part("grandchild", grandchild)
  Promises.part("quotas", quotas)
  Promises.finish()
}

/// What an ordinary child needs.
let modest = EnvironmentQuota(frames: 64)
/// Enough for the address space that an environment is made with.
let bareFrames: UInt64 = 24

private func computes() throws(ExocallError) {
  let page = try SharedPage.make()
  var child = try Child.make(modest, argument: 20) { argument in
    SharedWords(address: SharedPage.first)[0] = fibonacci(argument)
    return 21
  }
  try page.give(to: child, [.read, .write])
  try child.start()
  let end = try child.wait()
  Promises.check(
    end == .exited(status: 21) && page.words[0] == 6765,
    "a child computed \(page.words[0]) and \(end)")
  try page.release()
}

private func fibonacci(_ n: UInt64) -> UInt64 { n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2) }

/// Several at once.
private func together() throws(ExocallError) {
  let page = try SharedPage.make()
  var children: [Child] = []
  for number: UInt64 in 1...8 {
    let child = try Child.make(modest, argument: number) { number in
      SharedWords(address: SharedPage.first)[Int(number)] = fibonacci(number)
      return Int32(number)
    }
    try page.give(to: child, [.read, .write])
    children.append(child)
  }
  for child in children { try child.start() }
  var right = 0
  for index in children.indices {
    if try children[index].wait() == .exited(status: UInt8(index + 1)) { right += 1 }
  }
  let sum = (1...8).reduce(UInt64(0)) { $0 + page.words[$1] }
  Promises.check(right == 8 && sum == 54, "8 children at once added up to \(sum)")
  try page.release()
}

private func faults() throws(ExocallError) {
  var child = try Child.make(modest) { _ in
    SharedWords(address: SharedPage.second)[1] = 1
    return 0
  }
  try child.start()
  let end = try child.watch.wait()
  Promises.check(end == .faulted(vector: 14, address: SharedPage.second + 8), "a child \(end)")
  let again = try child.environment.watch().wait()
  let state = try child.environment.inspect().state
  Promises.check(again == end && state == .ended, "asked later, it still \(again)")
  child.release()
}

private func stops() throws(ExocallError) {
  let page = try SharedPage.make()
  var child = try Child.make(modest) { _ in
    let words = SharedWords(address: SharedPage.first)
    while true { words[0] &+= 1 }
  }
  try page.give(to: child, [.read, .write])
  Promises.check(try child.environment.inspect().state == .created, "a child not started is so")
  try child.start()
  Promises.check(eventually { page.words[0] > 1000 }, "a child counts")
  try child.environment.stop()
  let before = page.words[0]
  let pause = Clock.now + 5_000_000
  _ = eventually { Clock.now > pause }
  Promises.check(page.words[0] == before, "stopped, it counts no further")
  Promises.check(try child.environment.inspect().state == .stopped, "and says that it is stopped")
  try child.environment.resume()
  Promises.check(eventually { page.words[0] > before + 1000 }, "resumed, it counts on")
  try child.environment.end(status: 9)
  let end = try child.wait()
  Promises.check(end == .killed(status: 9), "and \(end)")
  try page.release()
}

/// A child that waits for what never comes is ended all the same, and what it made ends with it.
private func killed() throws(ExocallError) {
  let page = try SharedPage.make()
  var quota = modest
  quota.environments = 1
  quota.frames = 128
  var child = try Child.make(quota) { _ in
    let words = SharedWords(address: SharedPage.first)
    guard let never = try? Environment.create(EnvironmentQuota(frames: bareFrames, capabilities: 0)),
      let watch = try? never.watch()
    else { return 1 }
    words[0] = UInt64(never.number)
    return (try? watch.wait()) == nil ? 2 : 3
  }
  try page.give(to: child, [.read, .write])
  try child.start()
  let environment = child.environment
  let waits = eventually { page.words[0] != 0 && (try? environment.inspect().state) == .waiting }
  Promises.check(waits, "a child waits for one of its own that was never started")
  try child.environment.end(status: 7)
  let end = try child.wait()
  Promises.check(end == .killed(status: 7), "it \(end)")
  try page.release()
}

/// Children whose ends nobody waits for leave no places of the ring behind.
private func givenUp() throws(ExocallError) {
  for _ in 0..<100 {
    var child = try Child.make(modest) { _ in 0 }
    child.release()
  }
  var child = try Child.make(modest) { _ in 3 }
  try child.start()
  let end = try child.wait()
  Promises.check(end == .exited(status: 3), "after a hundred that were given up, a child \(end)")
}

/// A child of a child, out of the same text.
private func grandchild() throws(ExocallError) {
  let page = try SharedPage.make()
  let quota = EnvironmentQuota(frames: 400, capabilities: 256, environments: 1)
  var child = try Child.make(quota, mayHaveChildren: true) { _ in
    do throws(ExocallError) {
      var grandchild = try Child.make(modest, argument: 10) { argument in Int32(fibonacci(argument)) }
      try grandchild.start()
      guard case .exited(let status) = try grandchild.wait() else { return 254 }
      SharedWords(address: SharedPage.first)[0] = UInt64(status)
      return 4
    } catch {
      return Int32(100 + error.number)
    }
  }
  try page.give(to: child, [.read, .write])
  try child.start()
  let end = try child.wait()
  Promises.check(
    end == .exited(status: 4) && page.words[0] == 55,
    "a grandchild computed \(page.words[0]), its parent \(end)")
  try page.release()
}
