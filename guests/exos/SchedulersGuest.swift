import ExosThreads
import GuestRuntime
import LibOS

/// Environments that give their time to others by rules of their own.
func schedulers() {
  Promises.part("stride", stride)
  Promises.part("deadlines", deadlines)
  Promises.finish()
}

private let modest = EnvironmentQuota(frames: 64)

/// Every slot but each fourth, which nobody may own, is this environment's.
private func ownSlices() throws(ExocallError) {
  for slot: UInt64 in Swift.stride(from: 0, to: 64, by: 4) {
    try Slices.allocate(first: slot, count: 3).bind()
  }
}

private func stride() throws(ExocallError) {
  try ownSlices()
  let page = try SharedPage.make()
  var scheduler = StrideScheduler()
  var children: [Child] = []
  for number: UInt64 in 0..<3 {
    let child = try Child.make(modest, argument: number) { number in
      while true { SharedWords(address: SharedPage.first)[8 * Int(number)] &+= 1 }
    }
    try page.give(to: child, [.read, .write])
    try child.start()
    _ = try scheduler.add(child.environment, tickets: 3 - number)
    children.append(child)
  }
  for number in 0..<3 { page.words[8 * number] = 0 }
  var longest: UInt64 = 0
  var worst: (error: UInt64, quantum: UInt64) = (0, 0)
  for _ in 0..<120 {
    guard let (_, length) = try scheduler.turn() else { break }
    longest = max(longest, length)
    for client in 0..<3 where scheduler.queue.error(of: client) > worst.error {
      worst = (scheduler.queue.error(of: client), longest)
    }
  }
  let counts = (0..<3).map { Double(page.words[8 * $0]) }
  let sum = counts.reduce(0, +)
  let shares = counts.map { Int($0 / sum * 1000 + 0.5) }
  Promises.check(
    worst.error <= worst.quantum, "by 3, 2 and 1 tickets nobody was further from its share than one quantum")
  Promises.check(
    (400...600).contains(shares[0]) && (233...433).contains(shares[1]) && (83...250).contains(shares[2]),
    "what they counted is so too: \(shares[0]), \(shares[1]) and \(shares[2]) of a thousand")
  for index in children.indices { children[index].release() }
  try page.release()
}

private func deadlines() throws(ExocallError) {
  // The part before may have taken them.
  try? ownSlices()
  let page = try SharedPage.make()
  let millisecond: UInt64 = 1_000_000
  var scheduler = DeadlineScheduler()
  var children: [Child] = []
  let start = Clock.now + 20 * millisecond
  // Of each 120, 180 and 300 milliseconds 15, 20 and 30.
  let tasks: [(period: UInt64, work: UInt64)] = [(120, 15), (180, 20), (300, 30)]
  for (number, task) in tasks.enumerated() {
    let child = try Child.make(modest, argument: UInt64(number) << 32 | task.work) { argument in
      let words = SharedWords(address: SharedPage.first)
      let place = Int(argument >> 32) * 8
      var done: UInt64 = 0
      while true {
        while words[place] == done { Slices.yield() }
        // Work is counted, so that time on which another had the processor does not count as done.
        var left = (argument & 0xffff_ffff) * 20_000
        while left > 0 { left = UInt64(bitPattern: exo_opaque(Int64(bitPattern: left))) - 1 }
        done = words[place]
        words[place + 1] = done
      }
    }
    try page.give(to: child, [.read, .write])
    try child.start()
    _ = try scheduler.add(child.environment, period: task.period * millisecond, from: start)
    children.append(child)
  }
  let end = start + 1500 * millisecond
  while Clock.now < end {
    try scheduler.turn(
      begin: { page.words[8 * $0] += 1 }, isDone: { page.words[8 * $0 + 1] == page.words[8 * $0] })
  }
  let jobs = scheduler.queue.tasks.reduce(0) { $0 + $1.jobs }
  let missed = scheduler.queue.tasks.reduce(0) { $0 + $1.missed }
  Promises.check(
    scheduler.queue.tasks.allSatisfy { $0.jobs > 3 && $0.missed < $0.jobs },
    "\(jobs) jobs of three tasks, the one due soonest first: \(missed) were late")
  for index in children.indices { children[index].release() }
  try page.release()
}
