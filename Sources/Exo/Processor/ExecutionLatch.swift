import CKVM
import Glibc
import Synchronization

/// Tells whether an environment's vCPU may be in guest mode, and keeps it out while something is changed that the
/// hardware must not see half done: a gate, or a frame on its way to another owner.
///
/// The processor's thread passes `enter` before every KVM_RUN and `leave` after it; anybody else holds it back with
/// `hold`. Both sides store, then look at the other's word, so at least one sees the other.
///
/// The vCPU of one environment may be in the address space of another, where connections lead (`Transfer`). Environments with
/// connections therefore share a second latch, their processor's: whoever holds one of them back holds back all.
final class ExecutionLatch: Sendable {
  private let own = Side()
  private let shared: Side?
  private let isShared = Atomic<Bool>(false)
  /// Whether the vCPU passed both sides; the processor's thread alone uses it.
  private let passedShared = Atomic<Bool>(false)

  /// One latch of the two.
  private final class Side: Sendable {
    let inGuest = Atomic<UInt32>(0)
    let holders = Atomic<UInt32>(0)
    /// How often the vCPU has left guest mode: a frame unmapped before is unseen after the next change. It counts before
    /// `inGuest` falls.
    let departures = Atomic<UInt64>(0)
    /// Brings the vCPU out of KVM_RUN if it is there. Set by the thread that runs it.
    let kicker = Mutex<VCPUKicker?>(nil)
    var isHeld: Bool { holders.load(ordering: .sequentiallyConsistent) != 0 }
    func leave() {
      departures.add(1, ordering: .relaxed)
      inGuest.store(0, ordering: .sequentiallyConsistent)
    }
    var isInGuest: Bool { inGuest.load(ordering: .sequentiallyConsistent) != 0 }
    func kick() { kicker.withLock { $0?.kick() } }

    /// Makes the vCPU leave guest mode once, if it is in it.
    func evict() {
      let before = departures.load(ordering: .sequentiallyConsistent)
      var spins = 0
      while isInGuest, departures.load(ordering: .sequentiallyConsistent) == before {
        // A kick can be lost between the check of immediate_exit and guest entry only if it is never repeated.
        if spins % 20_000 == 0 { kick() }
        ExecutionLatch.pause(&spins)
      }
    }
  }

  /// - Parameter shared: that of the processor.
  init(shared: ExecutionLatch? = nil) { self.shared = shared?.own }

  /// Which vCPU to kick.
  func setKicker(_ new: VCPUKicker?) {
    own.kicker.withLock { $0 = new }
    shared?.kicker.withLock { $0 = new }
  }

  /// From now on, whoever holds back one environment that has joined holds back all of the processor that have.
  func join() {
    guard !isShared.load(ordering: .sequentiallyConsistent) else { return }
    isShared.store(true, ordering: .sequentiallyConsistent)
    // One that entered before does not know.
    own.evict()
  }

  /// Called by the processor's thread: returns when guest mode may be entered.
  func enter() {
    while true {
      let both = isShared.load(ordering: .sequentiallyConsistent) ? shared : nil
      own.inGuest.store(1, ordering: .sequentiallyConsistent)
      both?.inGuest.store(1, ordering: .sequentiallyConsistent)
      guard own.isHeld || both?.isHeld ?? false else {
        passedShared.store(both != nil, ordering: .relaxed)
        return
      }
      // A holder of the one may be waiting for the other: neither is kept.
      own.inGuest.store(0, ordering: .sequentiallyConsistent)
      both?.inGuest.store(0, ordering: .sequentiallyConsistent)
      var spins = 0
      while own.isHeld || both?.isHeld ?? false { Self.pause(&spins) }
    }
  }

  func leave() {
    if passedShared.load(ordering: .relaxed) { shared?.leave() }
    own.leave()
  }

  /// Whether a vCPU that sees what this environment sees may be in guest mode. Whoever changed something before asking, and
  /// hears no, knows that the vCPU will see the change.
  var isInGuest: Bool { own.isInGuest || sharedSide?.isInGuest ?? false }
  private var sharedSide: Side? { isShared.load(ordering: .sequentiallyConsistent) ? shared : nil }

  /// Runs `body` while the vCPU is out of guest mode. The holder's work must be short: the processor spins.
  func hold<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    let side = takeHold()
    defer { endHold(side) }
    return try body()
  }

  /// Brings the vCPU out of guest mode and keeps it out until the matching `endHold`.
  func beginHold() { _ = takeHold() }
  func endHold() { endHold(sharedSide) }

  private func takeHold() -> Side? {
    let side = sharedSide
    own.holders.add(1, ordering: .sequentiallyConsistent)
    side?.holders.add(1, ordering: .sequentiallyConsistent)
    own.evict()
    side?.evict()
    return side
  }
  private func endHold(_ side: Side?) {
    side?.holders.subtract(1, ordering: .sequentiallyConsistent)
    own.holders.subtract(1, ordering: .sequentiallyConsistent)
  }

  /// Makes the vCPU leave guest mode once, if it is in it. That it may be back by now does not matter.
  func evict() {
    own.evict()
    sharedSide?.evict()
  }

  /// A moment's wait. After a while it lets others have the host's processor: it may be this thread that keeps the one
  /// waited for from running.
  private static func pause(_ spins: inout Int) {
    spins += 1
    if spins % 1_000 == 0 { sched_yield() } else { ckvm_pause() }
  }

  /// Asks the vCPU to leave guest mode, without waiting.
  func kick() { own.kick() }
}
