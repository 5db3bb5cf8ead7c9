import Synchronization

/// What each end of a pipe says of itself in a word of its own: whether it sleeps, for the how many-th time, and whether it has
/// closed.
///
/// No wakeup is lost: who goes to sleep stores his word and then looks at the pipe once more; who has changed the pipe then
/// looks at that word; both in one order with all others. One of the two sees what the other did.
struct PipeSide {
  private static var sleeping: UInt64 { 1 }
  private static var closed: UInt64 { 2 }
  private static var step: UInt64 { 4 }

  private let own: UInt
  private let peer: UInt
  private var state: UInt64 = 0
  /// The sleep of the peer's that it was last woken from.
  private var woken: UInt64 = 0

  @inline(__always)
  init(own: UInt, peer: UInt) {
    self.own = own
    self.peer = peer
  }

  @inline(__always)
  private static func word(_ address: UInt) -> UnsafeMutablePointer<Atomic<UInt64>> {
    UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
  }

  /// Says that this end sleeps unless it finds at one more look that it need not.
  mutating func announce() {
    state = (state &+ Self.step) | Self.sleeping
    Self.word(own).pointee.store(state, ordering: .sequentiallyConsistent)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }
  /// Says that it is awake.
  mutating func settle() {
    state &= ~Self.sleeping
    Self.word(own).pointee.store(state, ordering: .releasing)
  }
  mutating func close() {
    state |= Self.closed
    Self.word(own).pointee.store(state, ordering: .sequentiallyConsistent)
  }
  var isClosed: Bool { state & Self.closed != 0 }

  /// The peer's word, loaded once.
  @inline(__always)
  var peerState: UInt64 { Self.word(peer).pointee.load(ordering: .acquiring) }
  @inline(__always)
  static func isClosed(_ state: UInt64) -> Bool { state & closed != 0 }

  var peerSleeps: Bool { peerState & Self.sleeping != 0 }

  /// Whether the peer is to be woken, once for each time it sleeps.
  @inline(__always)
  mutating func mustWake() -> Bool {
    let seen = peerState
    guard seen & Self.sleeping != 0, seen & ~Self.closed != woken else { return false }
    woken = seen & ~Self.closed
    return true
  }
}
