import ExosConcurrency
import ExosThreads
import GuestRuntime
import LibOS
import _Concurrency

private actor Account {
  private(set) var balance = 0
  func add(_ amount: Int) { balance += amount }
}

private func double(_ number: Int) async -> Int {
  await Task.yield()
  return number * 2
}

nonisolated(unsafe) private var total = 0
nonisolated(unsafe) private var finished = 0

/// Swift's own tasks, as a thread among others.
func tasks() throws(ExocallError) {
  try Threads.begin(quantum: 500_000)
  let counter = Counter()
  _ = inThreads { () throws(ThreadError) in
    // A thread that only computes: tasks get their turns all the same.
    let busy = try Threads.spawn { while exo_opaque(Int64(finished)) == 0 { counter.add(1) } }
    try Tasks.run {
      let account = Account()
      async let first = double(3)
      let sum = await withTaskGroup(of: Int.self) { group in
        for number in 0..<10 { group.addTask { await double(number) } }
        var sum = 0
        for await part in group { sum += part }
        return sum
      }
      await account.add(sum)
      await account.add(await first)
      total = await account.balance
    }
    finished = 1
    try Threads.join(busy)
  }
  Promises.check(
    total == 96 && counter.value > 0,
    "tasks, a group of ten and an actor added up to \(total) beside a busy thread")
  var refused: ThreadError?
  do throws(ThreadError) {
    try Tasks.run { await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in } }
  } catch { refused = error }
  Promises.check(refused == .deadlock, "a task that waits for what never comes is told of")
}
