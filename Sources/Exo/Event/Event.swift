import ExoABI

/// Something that happened to an environment while it was doing something else. The numbers are the ABI's.
struct Event: Hashable, Sendable {
  enum Kind: UInt32, CaseIterable, Sendable {
    /// Its slice is over; the grace runs.
    case sliceEnd = 0
    /// Resources are asked back.
    case revocation = 1
    /// An environment that it may inspect has ended.
    case childEnded = 2
    /// Another environment posted to it.
    case message = 3
    /// The time that it set has come.
    case timer = 4
    /// A connection was made, signalled or closed.
    case gate = 5
    /// A packet has come to a ring that wanted to be told.
    case packets = 6
  }
  /// Some of the kinds: a bit for each, as the ABI has them.
  struct Kinds: Hashable, Sendable, BitwiseCopyable {
    private let bits: UInt32
    /// Nil if a bit stands for no kind.
    init?(bits: UInt64) {
      guard bits < 1 << UInt64(EXO_EVENT_KINDS) else { return nil }
      self.bits = UInt32(bits)
    }
    func contains(_ kind: Kind) -> Bool { bits >> kind.rawValue & 1 != 0 }
  }
  var kind: Kind
  var data: UInt32 = 0
  var value: UInt64 = 0
}

/// The exokernel's end of an environment's event ring: a page that the exokernel writes and the environment reads, and two
/// words of the environment's own (`exo_control`): its soft mask and how many events it has taken.
///
///     exokernel                                 environment
///     fill slot (n-1) % 126
///     store sequence = n, release   ---------> poll slot (m) % 126, or be entered at its handler
///                                              consumed = m
///     events that find the ring full are counted as lost
///
/// Invariants: the number of events posted is private; the environment's count is only believed between what it said
/// before and what has been posted.
struct EventQueue: Sendable {
  static var capacity: UInt32 { UInt32(EXO_EVENT_CAPACITY) }

  let page: Frame
  let control: Frame
  private(set) var posted: UInt32 = 0
  private(set) var consumed: UInt32 = 0
  private(set) var lost: UInt32 = 0
  /// How many were posted, by kind.
  private(set) var counts = [UInt64](repeating: 0, count: Event.Kind.allCases.count)
  /// The environment has ended: the pages are another's.
  private var isClosed = false

  init(page: Frame, control: Frame) {
    self.page = page
    self.control = control
  }

  mutating func close() { isClosed = true }

  /// What became of an event.
  enum Posting: Sendable { case posted, lost, closed }

  /// Whether the environment has events that it has not taken.
  mutating func hasPending(in memory: PhysicalMemory) -> Bool { pending(in: memory) != 0 }
  /// How many.
  mutating func pending(in memory: PhysicalMemory) -> UInt32 {
    guard !isClosed else { return 0 }
    believe(memory.load32(controlWord(4)))
    return posted &- consumed
  }
  /// Whether it has its soft mask set: no handler is entered then.
  func isMasked(in memory: PhysicalMemory) -> Bool { memory.load32(controlWord(0)) != 0 }
  /// Sets the soft mask, as an event is delivered.
  func mask(in memory: PhysicalMemory) { memory.store32(1, controlWord(0)) }

  /// Adds an event, or counts it as lost if the ring is full.
  @discardableResult
  mutating func post(_ event: Event, at time: UInt64, in memory: PhysicalMemory) -> Posting {
    guard !isClosed else { return .closed }
    believe(memory.load32(controlWord(4)))
    guard posted &- consumed < Self.capacity else {
      lost &+= 1
      memory.store32(lost, PhysicalAddress(page.address.value + 4))
      return .lost
    }
    let slot = page.address.value + UInt64(EXO_EVENT_RING_OFFSET) + UInt64(posted % Self.capacity) * 32
    memory.store(UInt64(event.kind.rawValue) | UInt64(event.data) << 32, PhysicalAddress(slot))
    memory.store(event.value, PhysicalAddress(slot + 8))
    memory.store(time, PhysicalAddress(slot + 16))
    posted &+= 1
    counts[Int(event.kind.rawValue)] += 1
    memory.store32(posted, PhysicalAddress(slot + 28))
    memory.store32(posted, page.address)
    return .posted
  }

  private mutating func believe(_ count: UInt32) {
    if count &- consumed <= posted &- consumed { consumed = count }
  }
  private func controlWord(_ offset: UInt64) -> PhysicalAddress {
    PhysicalAddress(control.address.value + UInt64(EXO_CONTROL_OFFSET) + offset)
  }
}
