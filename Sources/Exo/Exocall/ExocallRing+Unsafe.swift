import CKVM
import ExoABI
import Synchronization

/// One request as it was read from the ring, once: the environment may change its entry while we look.
struct Submission: Hashable, Sendable {
  var tag: UInt64
  var arguments: (UInt64, UInt64, UInt64, UInt64, UInt64)
  var call: UInt32
  var consumed: UInt32

  static func == (a: Self, b: Self) -> Bool {
    a.tag == b.tag && a.call == b.call && a.consumed == b.consumed && a.arguments == b.arguments
  }
  func hash(into hasher: inout Hasher) { hasher.combine(tag) }
}

/// An answer before it is posted.
struct Completion: Sendable {
  var tag: UInt64
  var answer: Answer
  init(tag: UInt64, _ answer: Answer) {
    self.tag = tag
    self.answer = answer
  }
  init(tag: UInt64, result: Int64, values: (UInt64, UInt64) = (0, 0)) {
    self.init(tag: tag, Answer(result, values))
  }
}

/// What comes of a call. Small enough to be handed on in registers.
struct Answer: Sendable {
  var result: Int64
  var values: (UInt64, UInt64)
  init(_ result: Int64 = 0, _ values: (UInt64, UInt64) = (0, 0)) {
    self.result = result
    self.values = values
  }
  init(_ handle: CapabilityHandle, _ values: (UInt64, UInt64) = (0, 0)) {
    self.init(Int64(bitPattern: handle.rawValue), values)
  }
}

/// The exokernel's end of an environment's submission and completion rings.
///
///     environment                                exokernel
///     fill slot (n-1) % 64                       poll slot (next-1) % 64
///     store sequence = n, release   ---------->  sequence == next?  read the entry once, next += 1
///     poll slot (m-1) % 64          <----------  store sequence = m, release; posted = m
///
/// Invariants: both cursors are private; a submission is taken only if its number is exactly the next; at most a
/// ring's worth of completions is ever posted beyond what the environment says it has consumed, and what it says
/// moves forward only. One server at a time: the owner serialises calls (`ExocallServer`).
@safe struct ExocallRing: ~Copyable {
  // Invariant: both pages belong to kit frames that stay bound until the environment has ended and its server is gone.
  private let submissions: UnsafeMutableRawPointer
  private let completions: UnsafeMutableRawPointer
  private static var capacity: UInt32 { UInt32(EXO_RING_CAPACITY) }

  /// Submissions taken so far. Wider than the numbers in the ring, so that the first lap, whose slots read 0 before, is
  /// told from the one that begins when those numbers wrap.
  private(set) var taken: UInt64
  /// The number of the submission that comes next, from 1; wraps.
  var next: UInt32 { UInt32(truncatingIfNeeded: taken) &+ 1 }
  /// The number of the newest completion posted.
  private(set) var posted: UInt32
  /// How many completions the environment says it has taken.
  private(set) var consumed: UInt32
  /// Submissions taken and not yet answered.
  var outstanding: UInt32 { next &- 1 &- posted }

  /// Takes up rings of which `served` requests have been answered and consumed: none of a new one.
  init(submissions: UnsafeMutableRawPointer, completions: UnsafeMutableRawPointer, served: UInt64 = 0) {
    unsafe self.submissions = submissions
    unsafe self.completions = completions
    taken = served
    posted = UInt32(truncatingIfNeeded: served)
    consumed = posted
  }

  private func slot(_ base: UnsafeMutableRawPointer, _ sequence: UInt32) -> UnsafeMutableRawPointer {
    unsafe base + Int((sequence &- 1) % Self.capacity) * 64
  }
  private func sequenceWord(_ slot: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (slot + 60).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// Whether everything that was submitted has been answered.
  var isIdle: Bool { !hasWork && outstanding == 0 }

  /// Gives the rings to somebody who begins after what was served until now: nothing is left in them but the numbers by which an idle
  /// slot is known. What lies in slots to come was never seen by the server.
  mutating func restart() {
    consumed = posted
    unsafe clear(submissions)
    // Only what was answered is in there.
    if taken > 0 { unsafe clear(completions) }
  }
  private func clear(_ ring: UnsafeMutableRawPointer) {
    unsafe ring.initializeMemory(as: UInt8.self, repeating: 0, count: Int(Self.capacity) * 64)
    // Somebody who looks meanwhile takes a 0 for work, and waits for the lock.
    for back in 0..<min(UInt64(Self.capacity), taken) {
      let number = next &- 1 &- UInt32(back)
      unsafe sequenceWord(slot(ring, number)).pointee.store(number, ordering: .releasing)
    }
  }

  /// Whether a submission, or a misuse, waits to be taken.
  var hasWork: Bool { look.hasWork }
  /// What a look for the next submission takes.
  var look: RingLook { unsafe RingLook(word: sequenceWord(slot(submissions, next)), idle: previousLap) }
  /// What the next slot's sequence reads until the environment submits.
  private var previousLap: UInt32 { taken >= UInt64(Self.capacity) ? next &- Self.capacity : 0 }

  /// Takes the next submission. Nil if there is none.
  @inline(__always)
  mutating func take() throws(RingMisuse) -> Submission? {
    // Each word is loaded once, and as an atomic so that the compiler keeps it so. The last one is the sequence and what precedes it.
    let entry = unsafe slot(submissions, next).assumingMemoryBound(to: Atomic<UInt64>.self)
    let last = unsafe entry[7].load(ordering: .acquiring)
    let sequence = UInt32(truncatingIfNeeded: last >> 32)
    if sequence == previousLap { return nil }
    guard sequence == next else { throw .sequence(found: sequence, expected: next) }
    let said = UInt32(truncatingIfNeeded: last)
    guard said &- consumed <= posted &- consumed else {
      throw .consumedRunsBackOrAhead(found: said, posted: posted)
    }
    consumed = said
    guard sequence &- said <= Self.capacity else { throw .completionsNotConsumed(submission: sequence) }
    taken &+= 1
    func word(_ index: Int) -> UInt64 { unsafe entry[index].load(ordering: .relaxed) }
    return Submission(
      tag: word(0), arguments: (word(1), word(2), word(3), word(4), word(5)),
      call: UInt32(truncatingIfNeeded: word(6)), consumed: said)
  }

  /// Posts an answer. Never more than there are unanswered submissions, so the slot is free.
  @inline(__always)
  mutating func post(_ completion: Completion) {
    precondition(outstanding > 0, "a completion without a submission")
    posted &+= 1
    let entry = unsafe slot(completions, posted)
    // As atomics, so that they are moved a word at a time, as they were made: 16 bytes at once could only be loaded when both halves have
    // reached the cache, behind the answers before them.
    let words = unsafe entry.assumingMemoryBound(to: Atomic<UInt64>.self)
    unsafe words[0].store(completion.tag, ordering: .relaxed)
    unsafe words[1].store(UInt64(bitPattern: completion.answer.result), ordering: .relaxed)
    unsafe words[2].store(completion.answer.values.0, ordering: .relaxed)
    unsafe words[3].store(completion.answer.values.1, ordering: .relaxed)
    unsafe sequenceWord(entry).pointee.store(posted, ordering: .releasing)
  }
}

/// A look for a ring's next submission, without the ring's lock. Once somebody else has served the ring it says that there is
/// work until it is taken anew, never that there is none where there is.
@safe struct RingLook: @unchecked Sendable {
  // Invariant: the machine's memory outlasts the threads that look at it. If the page is another environment's by now, what is
  // read there means nothing, and does no harm: whoever serves takes the lock and looks again.
  private let word: UnsafePointer<Atomic<UInt32>>
  /// What stands there until the environment submits.
  private let idle: UInt32
  fileprivate init(word: UnsafePointer<Atomic<UInt32>>, idle: UInt32) {
    unsafe self.word = word
    self.idle = idle
  }
  @inline(__always) var hasWork: Bool { unsafe word.pointee.load(ordering: .acquiring) != idle }
}

/// How an environment broke the ring's protocol: it is ended, for nothing it says can be trusted to be in step.
public enum RingMisuse: Error, Hashable, Sendable, CustomStringConvertible {
  /// The next slot held neither its number nor that of the lap before.
  case sequence(found: UInt32, expected: UInt32)
  /// The count of consumed completions went back, or past what has been posted.
  case consumedRunsBackOrAhead(found: UInt32, posted: UInt32)
  /// More than a ring of submissions without taking completions.
  case completionsNotConsumed(submission: UInt32)

  public var description: String {
    switch self {
    case .sequence(let found, let expected):
      "submission ring: sequence \(found) where \(expected) comes next"
    case .consumedRunsBackOrAhead(let found, let posted):
      "submission ring: says \(found) completions were consumed, \(posted) have been posted"
    case .completionsNotConsumed(let submission):
      "submission ring: submission \(submission) without room for its completion"
    }
  }
}
