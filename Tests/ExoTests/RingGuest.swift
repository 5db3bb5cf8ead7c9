import ExoABI
import Synchronization

@testable import Exo

/// Memory for one pair of rings.
final class RingMemory: @unchecked Sendable {
  let submissions = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
  let completions = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)

  init() {
    submissions.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
    completions.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
  }
  deinit {
    submissions.deallocate()
    completions.deallocate()
  }

  /// As the rings are after this many requests were answered and consumed.
  func age(_ served: UInt64) {
    for number in (served > 64 ? served - 64 : 0)..<served {
      let name = UInt32(truncatingIfNeeded: number + 1)
      word(submissions, name).pointee.store(name, ordering: .relaxed)
      word(completions, name).pointee.store(name, ordering: .relaxed)
    }
  }

  func slot(_ ring: UnsafeMutableRawPointer, _ number: UInt32) -> UnsafeMutableRawPointer {
    ring + Int((number &- 1) % 64) * 64
  }
  func word(_ ring: UnsafeMutableRawPointer, _ number: UInt32) -> UnsafeMutablePointer<Atomic<UInt32>> {
    (slot(ring, number) + 60).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  func server(served: UInt64 = 0) -> RingServer { RingServer(self, served: served) }
}

/// The exokernel's end, as an object that expectations can call.
final class RingServer {
  private var ring: ExocallRing

  init(_ memory: RingMemory, served: UInt64) {
    ring = ExocallRing(submissions: memory.submissions, completions: memory.completions, served: served)
  }
  var hasWork: Bool { ring.hasWork }
  var outstanding: UInt32 { ring.outstanding }
  var consumed: UInt32 { ring.consumed }
  var next: UInt32 { ring.next }
  func take() throws(RingMisuse) -> Submission? { try ring.take() }
  func post(_ completion: Completion) { ring.post(completion) }
  func restart() { ring.restart() }
  var taken: UInt64 { ring.taken }

  /// How the next submission breaks the protocol, if it does.
  func misuse() -> RingMisuse? {
    do throws(RingMisuse) {
      _ = try ring.take()
      return nil
    } catch { return error }
  }
}

/// The environment's end of the rings, as exo_abi.h has it and as plainly as it can be written.
final class RingGuest {
  let memory: RingMemory
  var submitted: UInt32
  var consumed: UInt32

  init(_ memory: RingMemory, served: UInt64 = 0) {
    self.memory = memory
    submitted = UInt32(truncatingIfNeeded: served)
    consumed = submitted
  }

  var hasRoom: Bool { submitted &- consumed < 64 }

  func submit(
    tag: UInt64, call: UInt32 = 0, arguments: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)
  ) {
    submitted &+= 1
    fill(submitted, tag: tag, call: call, arguments: arguments, consumed: consumed)
    publish(slot: submitted, sequence: submitted)
  }

  /// Everything of an entry but its number.
  func fill(
    _ number: UInt32, tag: UInt64, call: UInt32 = 0,
    arguments: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0), consumed: UInt32
  ) {
    let slot = memory.slot(memory.submissions, number)
    slot.storeBytes(of: tag, as: UInt64.self)
    slot.storeBytes(of: arguments.0, toByteOffset: 8, as: UInt64.self)
    slot.storeBytes(of: arguments.1, toByteOffset: 16, as: UInt64.self)
    slot.storeBytes(of: arguments.2, toByteOffset: 24, as: UInt64.self)
    slot.storeBytes(of: arguments.3, toByteOffset: 32, as: UInt64.self)
    slot.storeBytes(of: arguments.4, toByteOffset: 40, as: UInt64.self)
    slot.storeBytes(of: call, toByteOffset: 48, as: UInt32.self)
    slot.storeBytes(of: consumed, toByteOffset: 56, as: UInt32.self)
  }
  func publish(slot: UInt32, sequence: UInt32) {
    memory.word(memory.submissions, slot).pointee.store(sequence, ordering: .releasing)
  }

  /// The next completion, if it is there.
  func take() -> (tag: UInt64, result: Int64, values: (UInt64, UInt64))? {
    let number = consumed &+ 1
    guard memory.word(memory.completions, number).pointee.load(ordering: .acquiring) == number else {
      return nil
    }
    let slot = memory.slot(memory.completions, number)
    consumed = number
    return (
      slot.load(as: UInt64.self), slot.load(fromByteOffset: 8, as: Int64.self),
      (slot.load(fromByteOffset: 16, as: UInt64.self), slot.load(fromByteOffset: 24, as: UInt64.self))
    )
  }
}
