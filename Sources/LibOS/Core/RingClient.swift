import ExoABI
import Synchronization

/// What a ring needs from the machine it runs on: the three doorbell stores and a sense of time.
public protocol RingDoorbell {
  /// Wakes the service thread that sleeps.
  func wake()
  /// Has this environment's own processor serve the ring before the call returns.
  func serve()
  /// Sleeps until the completion of this number has been posted.
  func wait(for completion: UInt32)
  /// Lets time pass between two looks at a completion.
  func pause()
  /// A steady count of time, in the unit of the ring's patience.
  var ticks: UInt64 { get }
}

/// The environment's end of its submission and completion rings (see exo_abi.h for their layout).
///
/// Submission n, counted from 1 and wrapping, goes in slot (n - 1) % 64 and is visible once the slot's
/// `sequence` is n; completion m likewise. Completions come in any order and carry their request's tag.
///
///     free --submit--> in flight --completion taken--> arrived --answer taken--> free
///
/// Invariants: a tag's low six bits are its place in the table of answers, and no place is in use twice; so
/// at most 64 requests are in flight, a ring's worth. A request waited for at once is answered straight
/// from the completion: it touches one line of each ring and the status line, nothing else that is shared.
///
/// Not reentrant: an exception handler may make calls, since ring code raises no exception, but a handler
/// entered by single-stepping through ring code may not.
public struct RingClient<Bell: RingDoorbell>: ~Copyable {
  /// Places kept for requests waited for at once, so that those which take long cannot starve them.
  static var reserved: Int { 4 }

  public var bell: Bell
  // Addresses, all set by `attach`; integers, so that a ring can be a constant-initialised global.
  var submissions: UInt = 0
  var completions: UInt = 0
  var status: UInt = 0
  var answers: UInt = 0
  var patience: UInt64 = 0
  /// Submissions so far: in the ring the low half, in a tag above its place.
  var count: UInt64 = 0
  var consumed: UInt32 = 0
  // One bit for each place: in use, answer arrived, and nobody wants the answer.
  var used: UInt64 = 0
  var arrived: UInt64 = 0
  var abandoned: UInt64 = 0

  @inline(__always)
  public init(bell: Bell) { self.bell = bell }

  /// Takes up rings in which nothing is under way.
  /// - Parameters:
  ///   - submissions: address of the submission ring.
  ///   - completions: address of the completion ring.
  ///   - status: address of the word that tells how the ring is served.
  ///   - answers: memory for 64 answers, the ring's own from now on.
  ///   - patience: ticks to watch for a completion before sleeping.
  ///   - served: how many requests were made before, by whoever had the rings then.
  public mutating func attach(
    submissions: UInt, completions: UInt, status: UInt, answers: UnsafeMutableRawPointer, patience: UInt64,
    served: UInt64 = 0
  ) {
    count = served
    consumed = UInt32(truncatingIfNeeded: served)
    self.submissions = submissions
    self.completions = completions
    self.status = status
    self.answers = UInt(bitPattern: answers)
    self.patience = patience
  }

  /// Makes one call and waits for its answer; nil if as many calls as fit are already in flight.
  @inline(__always)
  public mutating func call(_ request: RingRequest) -> RingAnswer? {
    guard let tag = publish(request, limit: 64) else { return nil }
    notify()
    return answer(tag)
  }

  /// Starts a call; nil if too many answers are outstanding or not taken. The server may not look at it
  /// before `notify`, which one may serve several.
  public mutating func submit(_ request: RingRequest) -> RingTicket? {
    guard let tag = publish(request, limit: 64 - Self.reserved) else { return nil }
    filed(tag).pointee.tag = tag
    return RingTicket(tag: tag)
  }

  /// Sees to it that somebody serves what was submitted.
  @inline(__always)
  public mutating func notify() {
    // The store of `sequence` must be visible before the server's state is read: it does the reverse
    // before it goes to sleep, so one of the two sees the other.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    switch service {
    case UInt32(EXO_SERVICE_POLLED): break
    case UInt32(EXO_SERVICE_ASLEEP): bell.wake()
    default: bell.serve()
    }
  }

  /// The answer, if it is there; nil while the call is in flight, and for a ticket already used.
  public mutating func poll(_ ticket: RingTicket) -> RingAnswer? {
    while hasCompletion(consumed &+ 1) { _ = takeCompletion(for: nil) }
    return takeArrived(ticket.tag)
  }

  /// Waits for the answer; nil for a ticket already used.
  public mutating func wait(_ ticket: RingTicket) -> RingAnswer? {
    guard holds(ticket.tag) else { return nil }
    return answer(ticket.tag)
  }

  /// Gives an answer up: its place is free once the call is over. Nothing happens for a ticket already used.
  public mutating func abandon(_ ticket: RingTicket) {
    guard holds(ticket.tag), takeArrived(ticket.tag) == nil else { return }
    filed(ticket.tag).pointee.tag = .max
    abandoned |= bit(ticket.tag)
  }

  // MARK: - Submission

  @inline(__always)
  mutating func publish(_ request: RingRequest, limit: Int) -> UInt64? {
    let place = (~used).trailingZeroBitCount
    guard place < 64, limit == 64 || used.nonzeroBitCount < limit else { return nil }
    used |= 1 << UInt64(place)
    count &+= 1
    let tag = count << 6 | UInt64(place)
    let slot = submission(submitted)
    slot.pointee.tag = tag
    slot.pointee.arguments = request.arguments
    slot.pointee.call = request.call
    // The last two words together: what holds a processor up that submits many is the number of its stores.
    lastWord(at: UInt(bitPattern: slot)).pointee.store(
      UInt64(consumed) | UInt64(submitted) << 32, ordering: .releasing)
    return tag
  }

  // MARK: - Completion

  @inline(__always)
  mutating func answer(_ tag: UInt64) -> RingAnswer? {
    while true {
      if arrived != 0, let answer = takeArrived(tag) { return answer }
      awaitCompletion(consumed &+ 1)
      if let answer = takeCompletion(for: tag) { return answer }
    }
  }

  @inline(__always)
  func awaitCompletion(_ number: UInt32) {
    if hasCompletion(number) { return }
    // Where this processor serves the ring itself, nothing comes of watching it.
    if service != UInt32(EXO_SERVICE_EXIT) {
      let start = bell.ticks
      repeat {
        for _ in 0..<16 {
          // Looks without a pause would take the line away while it is being written.
          bell.pause()
          if hasCompletion(number) { return }
        }
      } while bell.ticks &- start < patience
    }
    while !hasCompletion(number) { bell.wait(for: number) }
  }

  @inline(__always)
  func hasCompletion(_ number: UInt32) -> Bool {
    sequence(at: UInt(bitPattern: completion(number))).pointee.load(ordering: .acquiring) == number
  }

  /// Takes the next completion, which is there: returns it if it is the one wanted, else files it.
  @inline(__always)
  mutating func takeCompletion(for wanted: UInt64?) -> RingAnswer? {
    consumed &+= 1
    let slot = completion(consumed)
    let tag = slot.pointee.tag
    let answer = RingAnswer(result: slot.pointee.result, values: slot.pointee.values)
    if tag == wanted {
      used &= ~bit(tag)
      return answer
    }
    if abandoned & bit(tag) != 0 {
      abandoned &= ~bit(tag)
      used &= ~bit(tag)
      return nil
    }
    filed(tag).pointee = Filed(tag: tag, answer: answer)
    arrived |= bit(tag)
    return nil
  }

  mutating func takeArrived(_ tag: UInt64) -> RingAnswer? {
    guard arrived & bit(tag) != 0, filed(tag).pointee.tag == tag else { return nil }
    filed(tag).pointee.tag = .max
    arrived &= ~bit(tag)
    used &= ~bit(tag)
    return filed(tag).pointee.answer
  }

  /// Whether an answer to this ticket's tag is still to be had.
  @inline(__always)  // A call would be made with a copy of the whole client.
  func holds(_ tag: UInt64) -> Bool { used & bit(tag) != 0 && filed(tag).pointee.tag == tag }

  // MARK: - Addresses

  struct Filed {
    var tag: UInt64
    var answer: RingAnswer
  }

  /// Bytes of memory `attach` wants for answers.
  public static var answersSize: Int { 64 * MemoryLayout<Filed>.stride }

  @inline(__always)
  func bit(_ tag: UInt64) -> UInt64 { 1 << (tag & 63) }

  @inline(__always)
  func filed(_ tag: UInt64) -> UnsafeMutablePointer<Filed> {
    let base = UnsafeMutableRawPointer(bitPattern: answers).unsafelyUnwrapped
    return base.assumingMemoryBound(to: Filed.self) + Int(tag & 63)
  }

  @inline(__always)
  func submission(_ number: UInt32) -> UnsafeMutablePointer<exo_submission> {
    let base = UnsafeMutableRawPointer(bitPattern: submissions).unsafelyUnwrapped
    return base.assumingMemoryBound(to: exo_submission.self) + Int((number &- 1) % UInt32(EXO_RING_CAPACITY))
  }

  @inline(__always)
  func completion(_ number: UInt32) -> UnsafePointer<exo_completion> {
    let base = UnsafeRawPointer(bitPattern: completions).unsafelyUnwrapped
    return base.assumingMemoryBound(to: exo_completion.self) + Int((number &- 1) % UInt32(EXO_RING_CAPACITY))
  }

  var submitted: UInt32 {
    @inline(__always) get { UInt32(truncatingIfNeeded: count) }
    set { count = UInt64(newValue) }
  }

  /// `consumed` and `sequence` of a submission.
  @inline(__always)
  func lastWord(at slot: UInt) -> UnsafeMutablePointer<Atomic<UInt64>> {
    UnsafeMutableRawPointer(bitPattern: slot &+ 56).unsafelyUnwrapped.assumingMemoryBound(
      to: Atomic<UInt64>.self)
  }

  /// The word that ends a slot of either ring.
  @inline(__always)
  func sequence(at slot: UInt) -> UnsafeMutablePointer<Atomic<UInt32>> {
    UnsafeMutableRawPointer(bitPattern: slot &+ 60).unsafelyUnwrapped.assumingMemoryBound(
      to: Atomic<UInt32>.self)
  }

  @inline(__always)
  var service: UInt32 {
    let word = UnsafeMutableRawPointer(bitPattern: status).unsafelyUnwrapped
    return word.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .relaxed)
  }
}
