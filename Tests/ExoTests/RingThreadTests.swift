import Glibc
import Synchronization
import Testing

@testable import Exo

/// Both ends of the rings on threads of their own.
@Suite struct RingThreadTests {
  private static let messages: UInt64 = 1_000_000

  /// A million requests, a window of them in flight, numbered so that the ring's numbers wrap on the way: each arrives
  /// once, whole and in order, and so does each answer.
  @Test(.timeLimit(.minutes(3))) func millionMessages() async throws {
    let served = (1 << 32) - Self.messages / 2
    let memory = RingMemory()
    memory.age(served)
    let failed = Flag()
    let server = try HostThread(name: "ring-server") { [memory] in
      Self.serve(memory, served: served, failed)
    }
    let client = try HostThread(name: "ring-client") { [memory] in
      Self.ask(memory, served: served, failed)
    }
    // Off the cooperative pool: its threads are for work that does not block.
    await withCheckedContinuation { done in
      let joiner = try? HostThread(name: "ring-join") {
        client.join()
        server.join()
        done.resume()
      }
      if joiner == nil { done.resume() }
    }
    #expect(!failed.isRaised)
  }

  /// Gives the processor away now and then: there may be fewer processors than threads.
  private struct Patience {
    var spins = 0
    mutating func wait() {
      spins += 1
      if spins % 256 == 0 { sched_yield() }
    }
  }

  private static func serve(_ memory: RingMemory, served: UInt64, _ failed: Flag) {
    let ring = memory.server(served: served)
    var patience = Patience()
    var expected: UInt64 = 0
    while expected < messages {
      if failed.isRaised { return }
      do throws(RingMisuse) {
        guard let taken = try ring.take() else {
          patience.wait()
          continue
        }
        let (a, b, c, d, e) = taken.arguments
        let whole = [a, b, c, d, e].allSatisfy { $0 == expected &* 3 }
        if taken.tag != expected || taken.call != UInt32(truncatingIfNeeded: expected) || !whole {
          failed.raise()
        }
        ring.post(
          Completion(tag: taken.tag, result: Int64(taken.tag) &* 5, values: (taken.tag &* 7, ~taken.tag)))
        expected += 1
      } catch { failed.raise() }
    }
  }

  private static func ask(_ memory: RingMemory, served: UInt64, _ failed: Flag) {
    let guest = RingGuest(memory, served: served)
    var random = SeededGenerator(seed: 5)
    var patience = Patience()
    var sent: UInt64 = 0
    var received: UInt64 = 0
    while received < messages {
      if failed.isRaised { return }
      // Bursts of all sizes, so that the ring is now empty and now full.
      var burst = UInt64.random(in: 1...64, using: &random)
      while burst > 0, sent < messages, guest.hasRoom {
        let word = sent &* 3
        guest.submit(
          tag: sent, call: UInt32(truncatingIfNeeded: sent), arguments: (word, word, word, word, word))
        sent += 1
        burst -= 1
      }
      var found = false
      while let answer = guest.take() {
        found = true
        let right =
          answer.tag == received && answer.result == Int64(received) &* 5
          && answer.values == (received &* 7, ~received)
        if !right { failed.raise() }
        received += 1
      }
      if !found { patience.wait() }
    }
  }
}

/// Something that happened on some thread.
final class Flag: Sendable {
  private let value = Atomic<Bool>(false)
  var isRaised: Bool { value.load(ordering: .acquiring) }
  func raise() { value.store(true, ordering: .releasing) }
}
