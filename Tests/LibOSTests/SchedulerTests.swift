import Testing

@testable import ExosMemoryHost
@testable import ExosThreadsHost
@testable import LibOSHost

/// Who runs next, among threads and among environments.
@Suite struct SchedulerTests {
  private func threads(_ count: Int) -> [Thread] { (0..<count).map { Thread(number: $0) } }

  @Test func eachHasItsTurn() {
    let policy = RoundRobin()
    let three = threads(3)
    for thread in three { policy.add(thread) }
    var order: [Int] = []
    for _ in 0..<100 {
      guard let thread = policy.next() else { break }
      order.append(thread.number)
      policy.add(thread)
    }
    #expect(order == (0..<100).map { $0 % 3 })
  }

  @Test func theHigherPriorityGoesFirstAndEqualsTakeTurns() {
    let policy = Priorities()
    let four = threads(4)
    four[1].priority = 5
    four[3].priority = 5
    for thread in four { policy.add(thread) }
    #expect((0..<4).map { _ in policy.next()?.number } == [1, 3, 0, 2])
    #expect(policy.next() == nil)
  }

  @Test func stridesFollowTickets() {
    let policy = Strides()
    let three = threads(3)
    for (index, thread) in three.enumerated() {
      thread.tickets = 3 - index
      policy.add(thread)
    }
    var turns = [0, 0, 0]
    for _ in 0..<600 {
      guard let thread = policy.next() else { break }
      turns[thread.number] += 1
      policy.add(thread)
    }
    #expect(turns == [300, 200, 100])
    // One that was away has no claim to what it missed.
    let late = Thread(number: 3)
    late.tickets = 3
    policy.add(late)
    var gained = 0
    for _ in 0..<9 {
      guard let thread = policy.next() else { break }
      if thread === late { gained += 1 }
      policy.add(thread)
    }
    #expect((2...4).contains(gained))
  }

  @Test(arguments: 0..<20) func queuesKeepOrder(seed: UInt64) {
    var random = Randomness(state: seed)
    let queue = ThreadQueue()
    var model: [Thread] = []
    let all = threads(50)
    for _ in 0..<2000 {
      switch random.next() % 5 {
      case 0, 1:
        let thread = all[Int(random.next() % 50)]
        guard !model.contains(where: { $0 === thread }) else { continue }
        queue.append(thread)
        model.append(thread)
      case 2, 3:
        let expected = model.isEmpty ? nil : model.removeFirst()
        #expect(queue.popFirst() === expected)
      default:
        let thread = all[Int(random.next() % 50)]
        queue.remove(thread)
        model.removeAll { $0 === thread }
      }
      #expect(queue.isEmpty == model.isEmpty)
    }
  }

  @Test(arguments: 0..<20) func sleepersWakeInOrder(seed: UInt64) {
    var random = Randomness(state: seed)
    var queue = SleepQueue()
    var model: [(time: UInt64, number: Int)] = []
    for number in 0..<200 {
      let time = random.next() % 50
      queue.insert(Thread(number: number), until: time)
      model.append((time, number))
    }
    model.sort { ($0.time, $0.number) < ($1.time, $1.number) }
    for now in stride(from: UInt64(0), to: 60, by: 7) {
      #expect(queue.first == model.first?.time)
      while let thread = queue.popDue(at: now) {
        let expected = model.removeFirst()
        #expect(thread.number == expected.number)
      }
      #expect(model.allSatisfy { $0.time > now })
    }
    #expect(queue.isEmpty)
  }

  @Test func aCircleOfLocksIsSeen() {
    let all = threads(3)
    let locks = (0..<3).map { _ in Lock() }
    for index in 0..<3 { locks[index].owner = all[index] }
    all[0].waitsFor = locks[1]
    #expect(!WaitGraph.closesCircle(all[1], waitingFor: locks[2]))
    all[1].waitsFor = locks[2]
    #expect(WaitGraph.closesCircle(all[2], waitingFor: locks[0]))
    #expect(!WaitGraph.closesCircle(Thread(number: 4), waitingFor: locks[0]))
    locks[2].pass(to: nil)
    #expect(!WaitGraph.closesCircle(all[2], waitingFor: locks[0]))
    // One that was given what it waited for does not wait for itself, even before it runs.
    locks[2].pass(to: all[1])
    #expect(!WaitGraph.closesCircle(Thread(number: 5), waitingFor: locks[2]))
  }

  @Test(arguments: [[3, 2, 1], [1, 1], [5, 3], [100, 1]] as [[UInt64]])
  func strideTracksTheIdealWithinOneQuantum(tickets: [UInt64]) {
    var random = Randomness(state: 9)
    var queue = StrideQueue()
    for each in tickets { _ = queue.add(tickets: each) }
    let quantum: UInt64 = 5_000_000
    for _ in 0..<2000 {
      guard let client = queue.next() else { return #expect(Bool(false)) }
      // Not every turn is a whole one.
      queue.charge(client, nanoseconds: quantum - random.next() % 1_000_000)
      for client in tickets.indices { #expect(queue.error(of: client) <= quantum) }
    }
    #expect(queue.next { _ in false } == nil && StrideQueue().next() == nil)
  }

  @Test func theJobDueSoonestRuns() {
    var queue = DeadlineQueue()
    for period: UInt64 in [40, 60, 100] { _ = queue.add(period: period, from: 1000) }
    let early = queue.release(at: 999)
    #expect(early.isEmpty && queue.next() == nil && queue.nextRelease == 1000)
    let first = queue.release(at: 1000)
    #expect(first == [0, 1, 2] && queue.next() == 0)
    queue.finish(0)
    #expect(queue.next() == 1)
    // The first one's next job is due at 1080, the second's at 1060.
    let second = queue.release(at: 1045)
    #expect(second == [0] && queue.next() == 1)
    queue.finish(1)
    #expect(queue.next() == 0)
    queue.finish(0)
    #expect(queue.next() == 2)
    queue.finish(2)
    #expect(queue.next() == nil && queue.tasks.allSatisfy { $0.missed == 0 })
    _ = queue.release(at: 1060)
    _ = queue.release(at: 1200)
    #expect(queue.tasks.map { $0.missed } == [3, 2, 1])
  }

  /// Up to full use no deadline is missed (Liu and Layland, theorem 7).
  @Test func nothingIsLateUpToFullUse() {
    var queue = DeadlineQueue()
    let work: [UInt64] = [20, 20, 15]
    for period: UInt64 in [50, 60, 60] { _ = queue.add(period: period, from: 0) }
    var left = work
    for now: UInt64 in 0..<30_000 {
      for task in queue.release(at: now) { left[task] = work[task] }
      guard let task = queue.next() else { continue }
      left[task] -= 1
      if left[task] == 0 { queue.finish(task) }
    }
    #expect(queue.tasks.allSatisfy { $0.missed == 0 && $0.jobs >= 500 })
  }

  @Test(arguments: 0..<20) func theInvertedTableFindsWhatWasPut(seed: UInt64) {
    var random = Randomness(state: seed)
    var table = InvertedPageTable(frames: 64)
    var model: [UInt64: (frame: Int, rights: Rights)] = [:]
    for _ in 0..<3000 {
      let page = random.next() % 100 << (random.next() % 2 * 18)
      let frame = Int(random.next() % 64)
      switch random.next() % 4 {
      case 0 where model[page] == nil && !model.values.contains { $0.frame == frame }:
        table.insert(frame: frame, page: page, .read)
        model[page] = (frame, .read)
      case 1:
        let (found, expected) = (table.remove(page: page), model.removeValue(forKey: page)?.frame)
        #expect(found == expected)
      case 2:
        let isThere = table.setRights(of: page, [.read, .write])
        #expect(isThere == (model[page] != nil))
        model[page]?.rights = [.read, .write]
      default: break
      }
      #expect(table.find(page: page) == model[page]?.frame && table.rights(of: page) == model[page]?.rights)
    }
  }

  @Test func coloursFollowPages() {
    let colouring = FrameColouring(colours: 16)
    for page in 0..<100 {
      for start: UInt32 in [0, 1, 15, 16, 1000] {
        let frame = colouring.candidate(for: page, from: start)
        #expect(frame >= start && frame < start + 16 && frame % 16 == UInt32(page % 16))
      }
    }
  }
}
