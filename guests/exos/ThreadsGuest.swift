import ExosMemory
import ExosSupport
import ExosThreads
import GuestRuntime
import LibOS

/// Threads that a library makes of one environment.
func threads() {
  Promises.part("turns", turns)
  Promises.part("registers", registers)
  Promises.part("locks", locks)
  Promises.part("channels", channels)
  Promises.part("sleeps", sleeps)
  Promises.part("deadlocks", deadlocks)
  Promises.part("policies", policies)
  Promises.part("overflow", overflow)
  Promises.part("allocates", allocates)
  Promises.part("tasks", tasks)
  Promises.finish()
}

/// What synchronisation refuses, as a broken promise.
func inThreads<R>(_ body: () throws(ThreadError) -> R) -> R? {
  do throws(ThreadError) { return try body() } catch {
    Promises.check(false, "a thread was refused: \(error)")
    return nil
  }
}

final class Counter {
  private var word: Int = 0
  @inline(never) func add(_ amount: Int) { word = Int(exo_opaque(Int64(word))) + amount }
  var value: Int { Int(exo_opaque(Int64(word))) }
}

/// Threads that never give up their turn share the processor all the same.
private func turns() throws(ExocallError) {
  try Threads.begin(quantum: 1_000_000)
  let counters = (0..<3).map { _ in Counter() }
  let limit = Clock.now + 20_000_000_000
  var spawned: [Thread] = []
  for counter in counters {
    if let thread = inThreads({ () throws(ThreadError) in
      try Threads.spawn {
        while Threads.statistics.preemptions < 30, Clock.now < limit { counter.add(1) }
      }
    }) {
      spawned.append(thread)
    }
  }
  for thread in spawned { _ = inThreads { () throws(ThreadError) in try Threads.join(thread) } }
  let counts = counters.map { $0.value }
  let least = counts.min() ?? 0
  Promises.check(
    spawned.count == 3 && Threads.statistics.preemptions >= 30,
    "three threads that compute were interrupted \(Threads.statistics.preemptions) times")
  Promises.check(least > 0, "each had its share: \(counts[0]), \(counts[1]), \(counts[2])")
}

/// Everything a processor has comes back after an interruption.
private func registers() throws(ExocallError) {
  try Threads.begin(quantum: 200_000)
  let limit = Clock.now + 20_000_000_000
  let start = Threads.statistics.preemptions
  let wrong = Counter()
  var spawned: [Thread] = []
  for seed in 1...3 {
    if let thread = inThreads({ () throws(ThreadError) in
      try Threads.spawn {
        while Threads.statistics.preemptions - start < 60, Clock.now < limit {
          wrong.add(Int(exos_hold_registers(UInt64(seed), 20_000, Startup.page.pointee.features)))
        }
      }
    }) {
      spawned.append(thread)
    }
  }
  for thread in spawned { _ = inThreads { () throws(ThreadError) in try Threads.join(thread) } }
  Promises.check(
    wrong.value == 0 && Threads.statistics.preemptions - start >= 60,
    "\(Threads.statistics.preemptions - start) interruptions changed \(wrong.value) registers")
}

private func locks() throws(ExocallError) {
  try Threads.begin(quantum: 100_000)
  let mutex = Mutex()
  var total = 0
  var spawned: [Thread] = []
  for _ in 0..<4 {
    if let thread = inThreads({ () throws(ThreadError) in
      try Threads.spawn {
        for _ in 0..<2000 {
          _ = inThreads { () throws(ThreadError) in
            try mutex.withLock {
              let before = total
              // Time to be interrupted in the middle.
              for _ in 0..<20 { exo_pause() }
              total = Int(exo_opaque(Int64(before))) + 1
            }
          }
        }
      }
    }) {
      spawned.append(thread)
    }
  }
  for thread in spawned { _ = inThreads { () throws(ThreadError) in try Threads.join(thread) } }
  Promises.check(total == 8000, "four threads added 1 two thousand times each under a lock: \(total)")

  // A bounded buffer by hand, of a lock and two conditions.
  let (room, filled) = (Condition(), Condition())
  var buffer: [Int] = []
  var sum = 0
  let producer = inThreads { () throws(ThreadError) in
    try Threads.spawn {
      for number in 1...500 {
        _ = inThreads { () throws(ThreadError) in
          try mutex.lock()
          while buffer.count >= 4 { try room.wait(mutex) }
          buffer.append(number)
          filled.signal()
          try mutex.unlock()
        }
      }
    }
  }
  _ = inThreads { () throws(ThreadError) in
    for _ in 1...500 {
      try mutex.lock()
      while buffer.isEmpty { try filled.wait(mutex) }
      sum += buffer.removeFirst()
      room.signal()
      try mutex.unlock()
    }
    if let producer { try Threads.join(producer) }
  }
  Promises.check(sum == 125_250, "500 numbers came through a buffer of four: \(sum)")
}

private func channels() throws(ExocallError) {
  try Threads.begin(quantum: 100_000)
  // Eratosthenes: a thread for each prime, a channel between neighbours.
  var primes: [Int] = []
  _ = inThreads { () throws(ThreadError) in
    var source = Channel<Int>(capacity: 4)
    let first = source
    try Threads.spawn {
      for number in 2...100 { if (try? first.send(number)) == nil { return } }
      first.close()
    }
    while true {
      let input = source
      let prime: Int
      do throws(ThreadError) { prime = try input.receive() } catch {
        if error == .closed { break }
        throw error
      }
      primes.append(prime)
      let output = Channel<Int>(capacity: 4)
      try Threads.spawn(stackPages: 8) {
        while let number = try? input.receive() { if number % prime != 0 { try? output.send(number) } }
        output.close()
      }
      source = output
    }
  }
  Promises.check(primes.count == 25 && primes.last == 97, "\(primes.count) primes by as many threads")
  let local = ThreadLocal(0)
  let done = Channel<Int>(capacity: 8)
  _ = inThreads { () throws(ThreadError) in
    for number in 1...8 {
      try Threads.spawn {
        local.value = number
        for _ in 0..<50 { Threads.yield() }
        try? done.send(local.value == number ? 1 : 0)
        local.clear()
      }
    }
    var right = 0
    for _ in 1...8 { right += try done.receive() }
    Promises.check(right == 8 && local.value == 0, "each of 8 threads has its own value")
  }
}

private func sleeps() throws(ExocallError) {
  try Threads.begin()
  let order = Channel<Int>(capacity: 8)
  // Long enough for all to have gone to sleep before the first wakes, on a busy machine too.
  let unit: UInt64 = 40_000_000
  let start = Clock.now
  _ = inThreads { () throws(ThreadError) in
    for place in [3, 1, 2] {
      try Threads.spawn {
        Threads.sleep(until: start + UInt64(place) * unit)
        try? order.send(place)
      }
    }
    var seen: [Int] = []
    for _ in 0..<3 { seen.append(try order.receive()) }
    let passed = Clock.now - start
    Promises.check(seen == [1, 2, 3] && passed >= 3 * unit, "sleepers wake in the order of their times")
  }
}

private func deadlocks() throws(ExocallError) {
  try Threads.begin()
  let (first, second) = (Mutex(), Mutex())
  var (holdsFirst, holdsSecond) = (false, false)
  var refusals = 0
  /// Takes a lock while holding another: one of the two threads is told, whichever comes second.
  func take(_ lock: Mutex) {
    do throws(ThreadError) {
      try lock.lock()
      try lock.unlock()
    } catch { if error == .deadlock { refusals += 1 } }
  }
  _ = inThreads { () throws(ThreadError) in
    let other = try Threads.spawn {
      try? second.lock()
      holdsSecond = true
      while !holdsFirst { Threads.yield() }
      take(first)
      try? second.unlock()
    }
    try first.lock()
    holdsFirst = true
    while !holdsSecond { Threads.yield() }
    take(second)
    try first.unlock()
    try Threads.join(other)
  }
  Promises.check(refusals == 1, "a circle of two locks is refused to whoever would close it")
  let never = Channel<Int>()
  var refused: ThreadError?
  do throws(ThreadError) { _ = try never.receive() } catch { refused = error }
  Promises.check(refused == .deadlock, "waiting for what nobody is left to send is told")
  refused = nil
  do throws(ThreadError) { try first.unlock() } catch { refused = error }
  Promises.check(refused == .notOwner, "a lock is let go by its owner only")
}

/// A policy that answers nonsense.
private final class Nonsense: SchedulingPolicy {
  private var last: Thread?
  private var calls = 0
  override func add(_ thread: Thread) { last = thread }
  override func next() -> Thread? {
    calls += 1
    return calls % 3 == 0 ? nil : last
  }
}

private func policies() throws(ExocallError) {
  try Threads.begin(policy: Strides(), quantum: 500_000)
  // Turns, not time: how long one is, is up to who else has the processor.
  let start = Threads.statistics.preemptions
  var turns = [0, 0, 0]
  _ = inThreads { () throws(ThreadError) in
    var spawned: [Thread] = []
    for index in 0..<3 {
      spawned.append(
        try Threads.spawn(tickets: 3 - index) {
          while Threads.statistics.preemptions - start < 90 {
            let before = Threads.statistics.preemptions
            while Threads.statistics.preemptions == before, Threads.statistics.preemptions - start < 90 {
              exo_pause()
            }
            turns[index] += 1
          }
        })
    }
    for thread in spawned { try Threads.join(thread) }
  }
  Promises.check(
    turns[0] > turns[1] && turns[1] > turns[2] && (42...58).contains(turns[0] * 100 / turns.reduce(0, +)),
    "by three tickets, two and one: \(turns[0]), \(turns[1]) and \(turns[2]) turns")
  try Threads.begin(policy: Nonsense())
  let done = Counter()
  _ = inThreads { () throws(ThreadError) in
    var spawned: [Thread] = []
    for _ in 0..<5 {
      spawned.append(
        try Threads.spawn {
          for _ in 0..<10 { Threads.yield() }
          done.add(1)
        })
    }
    for thread in spawned { try Threads.join(thread) }
  }
  Promises.check(
    done.value == 5 && Threads.statistics.nonsense > 0,
    "a policy that answers nonsense is replaced, and all threads end")
}

@inline(never) private func recurse(_ depth: Int) -> Int {
  depth == .max ? 0 : recurse(depth + 1) &* 3 &+ depth
}

private func overflow() throws(ExocallError) {
  try Threads.begin()
  try PageFaults.bind { fault, frame in
    if !Threads.endOverflown(fault, &frame) { PageFaults.giveUp() }
  }
  var outcome: ThreadError?
  let after = Counter()
  _ = inThreads { () throws(ThreadError) in
    let bad = try Threads.spawn(stackPages: 4) { after.add(recurse(0)) }
    let good = try Threads.spawn { for _ in 0..<100 { Threads.yield() } }
    do throws(ThreadError) { try Threads.join(bad) } catch { outcome = error }
    try Threads.join(good)
    // Its stack serves the next.
    let next = try Threads.spawn(stackPages: 4) { after.add(7) }
    try Threads.join(next)
  }
  Promises.check(outcome == .stackOverflow, "a thread that overflows its stack ends, and says why")
  Promises.check(after.value == 7, "the others go on, and its stack serves the next")
}

/// The heap and the console are everybody's.
private func allocates() throws(ExocallError) {
  try Threads.begin(quantum: 50_000)
  let wrong = Counter()
  let limit = Clock.now + 5_000_000_000
  _ = inThreads { () throws(ThreadError) in
    var spawned: [Thread] = []
    for seed in 0..<4 {
      spawned.append(
        try Threads.spawn {
          var round = 0
          // On a busy host the first turn may not have ended by then.
          while round < 300 || Threads.statistics.preemptions == 0 && Clock.now < limit {
            defer { round += 1 }
            let array = (0..<(10 + round % 300)).map { $0 &* 7 &+ seed }
            let text = "thread \(seed) in round \(round)"
            if array.last != (9 + round % 300) &* 7 &+ seed || !text.hasPrefix("thread") { wrong.add(1) }
          }
        })
    }
    for thread in spawned { try Threads.join(thread) }
  }
  Promises.check(
    wrong.value == 0 && Threads.statistics.preemptions > 0,
    "four threads allocate while they are interrupted \(Threads.statistics.preemptions) times")
}
