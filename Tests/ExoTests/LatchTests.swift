import CKVM
import Glibc
import Synchronization
import Testing

@testable import Exo

/// The latch that keeps a vCPU out of guest mode: first every interleaving of its steps, then threads.
struct LatchModel {
  enum Runner: Hashable { case announce, check, retreat, await, inside, left }
  enum Holder: Hashable { case add, look, work, done }
  struct State: Hashable {
    var inGuest = false
    var holders = 0
    var runner = Runner.announce
    var first = Holder.add
    var second = Holder.add
    var entries = 0
  }

  /// Whether the runner looks for holders after it has announced itself.
  var announcesFirst = true
  private let entries = 3

  func steps(_ state: State) -> [State] {
    runner(state) + holder(state, \.first) + holder(state, \.second)
  }

  private func runner(_ state: State) -> [State] {
    var next = state
    switch state.runner {
    case .announce:
      if announcesFirst {
        next.inGuest = true
        next.runner = .check
      } else {
        next.runner = state.holders == 0 ? .check : .await
      }
    case .check:
      if announcesFirst {
        next.runner = state.holders == 0 ? .inside : .retreat
      } else {
        next.inGuest = true
        next.runner = .inside
      }
    case .retreat:
      next.inGuest = false
      next.runner = .await
    case .await:
      guard state.holders == 0 else { return [] }
      next.runner = .announce
    case .inside:
      next.inGuest = false
      next.entries += 1
      next.runner = next.entries == entries ? .left : .announce
    case .left: return []
    }
    return [next]
  }

  private func holder(_ state: State, _ path: WritableKeyPath<State, Holder>) -> [State] {
    var next = state
    switch state[keyPath: path] {
    case .add:
      next.holders += 1
      next[keyPath: path] = .look
    case .look:
      guard !state.inGuest else { return [] }
      next[keyPath: path] = .work
    case .work:
      next.holders -= 1
      next[keyPath: path] = .done
    case .done: return []
    }
    return [next]
  }

  static func isBroken(_ state: State) -> Bool {
    state.runner == .inside && (state.first == .work || state.second == .work)
  }
}

@Suite struct LatchTests {
  @Test func neverInsideWhileHeld() {
    let model = LatchModel()
    let explored = Explorer(from: LatchModel.State(), steps: model.steps) {
      $0.runner == .left && $0.first == .done && $0.second == .done
    }
    #expect(explored.stuck.isEmpty)
    #expect(!explored.reached.contains(where: LatchModel.isBroken))
    #expect(
      explored.reached.contains { $0.runner == .inside } && explored.reached.contains { $0.first == .work })
  }

  @Test func lookingBeforeAnnouncingWouldNotDo() {
    let model = LatchModel(announcesFirst: false)
    let explored = Explorer(from: LatchModel.State(), steps: model.steps) { $0.runner == .left }
    #expect(explored.reached.contains(where: LatchModel.isBroken))
  }

  /// What the threads of the stress test share.
  private final class Shared: Sendable {
    let latch = ExecutionLatch()
    let inside = Atomic<Int>(0)
    let holding = Atomic<Int>(0)
    let collisions = Atomic<Int>(0)
    let entries = Atomic<Int>(0)
    let holds = Atomic<Int>(0)
    let stop = Flag()
  }

  /// Runs bodies on threads of their own and waits for all.
  static func onThreads(_ bodies: [@Sendable () -> Void]) async throws {
    let threads = try bodies.map { try HostThread(name: "test", $0) }
    await withCheckedContinuation { done in
      let joiner = try? HostThread(name: "test-join") {
        for thread in threads { thread.join() }
        done.resume()
      }
      if joiner == nil { done.resume() }
    }
  }

  @Test(.timeLimit(.minutes(2))) func threads() async throws {
    let shared = Shared()
    let runner: @Sendable () -> Void = {
      while !shared.stop.isRaised {
        shared.latch.enter()
        shared.inside.store(1, ordering: .sequentiallyConsistent)
        if shared.holding.load(ordering: .sequentiallyConsistent) != 0 {
          shared.collisions.add(1, ordering: .relaxed)
        }
        shared.inside.store(0, ordering: .sequentiallyConsistent)
        shared.latch.leave()
        shared.entries.add(1, ordering: .relaxed)
        sched_yield()
      }
    }
    let holder: @Sendable () -> Void = {
      for _ in 0..<20_000 {
        shared.latch.hold {
          shared.holding.add(1, ordering: .sequentiallyConsistent)
          for _ in 0..<3 where shared.inside.load(ordering: .sequentiallyConsistent) != 0 {
            shared.collisions.add(1, ordering: .relaxed)
          }
          shared.holding.subtract(1, ordering: .sequentiallyConsistent)
        }
        shared.holds.add(1, ordering: .relaxed)
        shared.latch.evict()
        if shared.holds.load(ordering: .relaxed) == 40_000 { shared.stop.raise() }
      }
    }
    try await Self.onThreads([runner, holder, holder])
    #expect(shared.collisions.load(ordering: .relaxed) == 0)
    #expect(shared.holds.load(ordering: .relaxed) == 40_000)
    #expect(shared.entries.load(ordering: .relaxed) > 0)
  }

  /// A holder that throws lets go.
  @Test func holderThatThrows() {
    struct Failure: Error {}
    let latch = ExecutionLatch()
    #expect(throws: Failure.self) { try latch.hold { throw Failure() } }
    latch.enter()
    latch.leave()
  }

  /// A vCPU that is back in guest mode before the evictor looks again has left all the same: the evictor waits for one
  /// departure, not for the luck of seeing it. On one processor it never would: it looks only while the other sleeps.
  @Test(.timeLimit(.minutes(1))) func departureBetweenTwoLooks() async throws {
    var processors = [CInt](repeating: 0, count: 1)
    try #require(ckvm_allowed_processors(&processors, 1) == 1)
    let processor = processors[0]
    let latch = ExecutionLatch()
    let started = Flag()
    let evicted = Flag()
    let inTime = Flag()
    latch.enter()
    try await Self.onThreads([
      {
        _ = ckvm_pin_thread(processor)
        started.raise()
        latch.evict()
        evicted.raise()
      },
      {
        _ = ckvm_pin_thread(processor)
        while !started.isRaised { sched_yield() }
        for _ in 0..<100 where !evicted.isRaised {
          usleep(10_000)
          latch.leave()
          latch.enter()
        }
        if evicted.isRaised { inTime.raise() }
        latch.leave()
      },
    ])
    #expect(inTime.isRaised)
  }
}
