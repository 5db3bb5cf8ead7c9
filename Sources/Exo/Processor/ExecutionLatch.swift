import CKVM
import Glibc
import Synchronization

/// Tells whether an environment's vCPU may be in guest mode, and keeps it out while something is changed that the
/// hardware must not see half done: a gate, or a frame on its way to another owner.
///
/// The processor's thread passes `enter` before every KVM_RUN and `leave` after it; anybody else holds it back with
/// `hold`. Both sides store, then look at the other's word, so at least one sees the other.
final class ExecutionLatch: Sendable {
  private let inGuest = Atomic<UInt32>(0)
  private let holders = Atomic<UInt32>(0)
  /// How often the vCPU has left guest mode: a frame unmapped before is unseen after the next change. It counts before
  /// `inGuest` falls.
  private let departures = Atomic<UInt64>(0)

  /// Brings the vCPU out of KVM_RUN if it is there. Set by the thread that runs it.
  private let kicker = Mutex<VCPUKicker?>(nil)

  func setKicker(_ new: VCPUKicker?) { kicker.withLock { $0 = new } }

  /// Called by the processor's thread: returns when guest mode may be entered.
  func enter() {
    while true {
      inGuest.store(1, ordering: .sequentiallyConsistent)
      guard holders.load(ordering: .sequentiallyConsistent) != 0 else { return }
      inGuest.store(0, ordering: .sequentiallyConsistent)
      var spins = 0
      while holders.load(ordering: .acquiring) != 0 { Self.pause(&spins) }
    }
  }

  func leave() {
    departures.add(1, ordering: .relaxed)
    inGuest.store(0, ordering: .sequentiallyConsistent)
  }

  /// Whether the vCPU may be in guest mode. Whoever changed something before asking, and hears no, knows that the vCPU will
  /// see the change.
  var isInGuest: Bool { inGuest.load(ordering: .sequentiallyConsistent) != 0 }

  /// Runs `body` while the vCPU is out of guest mode. The holder's work must be short: the processor spins.
  func hold<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    beginHold()
    defer { endHold() }
    return try body()
  }

  /// Brings the vCPU out of guest mode and keeps it out until the matching `endHold`.
  func beginHold() {
    holders.add(1, ordering: .sequentiallyConsistent)
    evict()
  }
  func endHold() { holders.subtract(1, ordering: .sequentiallyConsistent) }

  /// Makes the vCPU leave guest mode once, if it is in it. That it may be back by now does not matter.
  func evict() {
    let before = departures.load(ordering: .sequentiallyConsistent)
    var spins = 0
    while inGuest.load(ordering: .sequentiallyConsistent) != 0,
      departures.load(ordering: .sequentiallyConsistent) == before
    {
      // A kick can be lost between the check of immediate_exit and guest entry only if it is never repeated.
      if spins % 20_000 == 0 { kick() }
      Self.pause(&spins)
    }
  }

  /// A moment's wait. After a while it lets others have the host's processor: it may be this thread that keeps the one
  /// waited for from running.
  private static func pause(_ spins: inout Int) {
    spins += 1
    if spins % 1_000 == 0 { sched_yield() } else { ckvm_pause() }
  }

  /// Asks the vCPU to leave guest mode, without waiting.
  func kick() { kicker.withLock { $0?.kick() } }
}
