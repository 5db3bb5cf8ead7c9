import ExoABI
import Testing

@testable import Exo

/// The exokernel's end of the rings against `RingGuest`, and against guests that break the protocol.
@Suite struct RingTests {
  /// Starts from which the numbers wrap early, late or not at all.
  static let starts: [UInt64] = [
    0, 1, 63, 64, 65, (1 << 32) - 129, (1 << 32) - 65, (1 << 32) - 64, (1 << 32) - 63, (1 << 32) - 2,
    (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 32) + 64, (3 << 32) - 1,
  ]

  @Test(arguments: starts) func oneAtATime(served: UInt64) throws {
    let memory = RingMemory()
    memory.age(served)
    let ring = memory.server(served: served)
    let guest = RingGuest(memory, served: served)
    for step in 0..<200 as Range<UInt64> {
      #expect(!ring.hasWork)
      #expect(try ring.take() == nil)
      guest.submit(tag: step, call: 9, arguments: (step, 1, 2, 3, 4))
      #expect(ring.hasWork)
      let taken = try #require(try ring.take(), "submission \(step) after \(served)")
      #expect(taken.tag == step && taken.call == 9 && taken.arguments == (step, 1, 2, 3, 4))
      #expect(ring.outstanding == 1)
      #expect(guest.take() == nil)
      ring.post(Completion(tag: step, result: -Int64(step), values: (step, ~step)))
      let answer = try #require(guest.take())
      #expect(answer.tag == step && answer.result == -Int64(step) && answer.values == (step, ~step))
      #expect(ring.outstanding == 0)
    }
  }

  /// Whoever has the rings next begins after what was served, and finds nothing in them that was left to be served then.
  @Test(arguments: starts) func restarted(served: UInt64) throws {
    let memory = RingMemory()
    memory.age(served)
    let ring = memory.server(served: served)
    for count in [0, 1, 3, 64, 65, 130] as [UInt64] {
      let first = RingGuest(memory, served: ring.taken)
      for step in 0..<count {
        first.submit(tag: step)
        _ = try #require(try ring.take())
        ring.post(Completion(tag: step, result: 0))
        _ = try #require(first.take())
      }
      // What it could have stored ahead of those that are expected.
      first.submitted &+= 1
      for step in 0..<60 as Range<UInt64> { first.submit(tag: step, call: 1) }
      #expect(!ring.hasWork)
      ring.restart()
      let next = RingGuest(memory, served: ring.taken)
      for step in 0..<70 as Range<UInt64> {
        #expect(try ring.take() == nil)
        next.submit(tag: step, call: 9)
        let taken = try #require(try ring.take(), "submission \(step) after \(served)")
        #expect(taken.tag == step && taken.call == 9)
        ring.post(Completion(tag: step, result: 7))
        #expect(next.take()?.result == 7)
        #expect(next.take() == nil)
      }
    }
  }

  @Test(arguments: starts) func aFullRingAtATime(served: UInt64) throws {
    let memory = RingMemory()
    memory.age(served)
    let ring = memory.server(served: served)
    let guest = RingGuest(memory, served: served)
    for round in 0..<5 as Range<UInt64> {
      for i in 0..<64 as Range<UInt64> { guest.submit(tag: round << 8 | i) }
      #expect(!guest.hasRoom)
      for i in 0..<64 as Range<UInt64> {
        let taken = try #require(try ring.take())
        #expect(taken.tag == round << 8 | i)
      }
      #expect(try ring.take() == nil)
      #expect(ring.outstanding == 64)
      // Answered in another order than asked.
      for i in (0..<64 as Range<UInt64>).reversed() { ring.post(Completion(tag: i, result: 0)) }
      for i in (0..<64 as Range<UInt64>).reversed() { #expect(guest.take()?.tag == i) }
      #expect(guest.take() == nil)
    }
  }

  /// Random submissions, answers in random order and consumption against a plain model.
  @Test(arguments: [1, 2, 3, 4] as [UInt64]) func randomTraffic(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let served = (1 << 32) - UInt64.random(in: 0...400, using: &random)
    let memory = RingMemory()
    memory.age(served)
    let ring = memory.server(served: served)
    let guest = RingGuest(memory, served: served)
    var waiting: [UInt64] = []
    var taken: [UInt64] = []
    var answered: [UInt64] = []
    var tag: UInt64 = 0
    for _ in 0..<20_000 {
      switch UInt32.random(in: 0..<4, using: &random) {
      case 0 where guest.hasRoom:
        tag += 1
        guest.submit(tag: tag)
        waiting.append(tag)
      case 1:
        let found = try ring.take()
        #expect(found?.tag == waiting.first)
        if let found {
          waiting.removeFirst()
          taken.append(found.tag)
        }
      case 2 where !taken.isEmpty:
        let chosen = taken.remove(at: Int.random(in: 0..<taken.count, using: &random))
        ring.post(Completion(tag: chosen, result: Int64(chosen)))
        answered.append(chosen)
      default:
        let found = guest.take()
        #expect(found?.tag == answered.first)
        if found != nil { answered.removeFirst() }
      }
      #expect(Int(ring.outstanding) == taken.count)
    }
    #expect(tag > 1000)
  }

  // --- misuse

  @Test(arguments: [0, 1, 100, (1 << 32) - 1, (1 << 32) - 64] as [UInt64])
  func numberOtherThanTheNext(served: UInt64) {
    let next = UInt32(truncatingIfNeeded: served) &+ 1
    for jump in [1, 2, 63, 65, 128, 1 << 31, .max, .max - 64] as [UInt32] {
      let memory = RingMemory()
      memory.age(served)
      let ring = memory.server(served: served)
      let guest = RingGuest(memory, served: served)
      let found = next &+ jump
      // The slot still reads 0 in the first lap, which says nothing.
      if served < 64, found == 0 { continue }
      guest.fill(next, tag: 0, consumed: guest.consumed)
      guest.publish(slot: next, sequence: found)
      #expect(ring.hasWork)
      #expect(ring.misuse() == .sequence(found: found, expected: next), "\(served) \(jump)")
      // It stays so: the ring does not move on.
      #expect(ring.misuse() == .sequence(found: found, expected: next))
      #expect(ring.next == next)
    }
  }

  /// In the first lap there is no lap before: a slot that reads `next - 64` was written.
  @Test func lapBeforeTheFirst() {
    let memory = RingMemory()
    let ring = memory.server()
    let guest = RingGuest(memory)
    guest.fill(1, tag: 0, consumed: 0)
    guest.publish(slot: 1, sequence: UInt32.max - 62)
    #expect(ring.misuse() == .sequence(found: UInt32.max - 62, expected: 1))
  }

  @Test func numberOfALapAgo() throws {
    let memory = RingMemory()
    let ring = memory.server()
    let guest = RingGuest(memory)
    for _ in 0..<64 {
      guest.submit(tag: 0)
      _ = try ring.take()
      ring.post(Completion(tag: 0, result: 0))
      _ = guest.take()
    }
    // Slot 1 reads 1, as it should. Zeroing it is a misuse now.
    #expect(try ring.take() == nil)
    guest.publish(slot: 65, sequence: 0)
    #expect(ring.misuse() == .sequence(found: 0, expected: 65))
  }

  @Test(arguments: [0, 10, (1 << 32) - 1] as [UInt64]) func consumedOutOfStep(served: UInt64) throws {
    let start = UInt32(truncatingIfNeeded: served)
    for wrong in [1, 2, 64, 1 << 31, .max] as [UInt32] {
      let memory = RingMemory()
      memory.age(served)
      let ring = memory.server(served: served)
      let guest = RingGuest(memory, served: served)
      guest.consumed = start &+ wrong
      guest.submit(tag: 7)
      #expect(ring.misuse() == .consumedRunsBackOrAhead(found: start &+ wrong, posted: start))
      #expect(ring.consumed == start)
    }
  }

  @Test func consumedRunsBack() throws {
    let memory = RingMemory()
    let ring = memory.server()
    let guest = RingGuest(memory)
    for _ in 0..<3 {
      guest.submit(tag: 0)
      _ = try ring.take()
      ring.post(Completion(tag: 0, result: 0))
      _ = guest.take()
    }
    guest.submit(tag: 0)
    _ = try ring.take()
    #expect(ring.consumed == 3)
    guest.consumed = 2
    guest.submit(tag: 0)
    #expect(ring.misuse() == .consumedRunsBackOrAhead(found: 2, posted: 3))
  }

  /// A guest that never takes an answer gets a ring's worth of them and no more: none is overwritten.
  @Test(arguments: [0, (1 << 32) - 32] as [UInt64]) func completionsNotConsumed(served: UInt64) throws {
    let memory = RingMemory()
    memory.age(served)
    let ring = memory.server(served: served)
    let guest = RingGuest(memory, served: served)
    for i in 0..<64 as Range<UInt64> {
      guest.submit(tag: i)
      _ = try #require(try ring.take())
      ring.post(Completion(tag: i, result: 0))
    }
    guest.submit(tag: 64)
    #expect(ring.misuse() == .completionsNotConsumed(submission: guest.submitted))
    for i in 0..<64 as Range<UInt64> { #expect(guest.take()?.tag == i) }
  }

  /// What the guest writes into an entry after its number does not reach the copy that was taken.
  @Test func entryIsReadOnce() throws {
    let memory = RingMemory()
    let ring = memory.server()
    let guest = RingGuest(memory)
    guest.submit(tag: 1, call: 2, arguments: (3, 4, 5, 6, 7))
    let taken = try #require(try ring.take())
    guest.fill(1, tag: .max, call: .max, arguments: (.max, .max, .max, .max, .max), consumed: .max)
    #expect(taken.tag == 1 && taken.call == 2 && taken.arguments == (3, 4, 5, 6, 7) && taken.consumed == 0)
  }

  /// Random words anywhere in the submission page: each look at it ends in an answer or a named misuse.
  @Test func noise() {
    var random = SeededGenerator(seed: 11)
    for _ in 0..<300 {
      let memory = RingMemory()
      let ring = memory.server()
      for _ in 0..<100 {
        let word = UInt32.random(in: 0..<1024, using: &random)
        let value =
          Bool.random(using: &random)
          ? UInt32.random(in: 0..<130, using: &random) : UInt32.random(in: .min ... .max, using: &random)
        memory.submissions.storeBytes(of: value, toByteOffset: Int(word) * 4, as: UInt32.self)
        if ring.misuse() != nil { break }
        if ring.outstanding > 0, Bool.random(using: &random) { ring.post(Completion(tag: 0, result: 0)) }
        #expect(ring.outstanding <= 64)
      }
    }
  }
}
