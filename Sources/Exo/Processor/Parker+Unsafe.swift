import CKVM
import Synchronization

/// Lets one thread sleep until another has something for it. A ticket taken before looking for work makes sure that
/// a notification in between is not lost.
@safe final class Parker: @unchecked Sendable {
  // Invariant: allocated and initialised here, freed in deinit; the futex is private to this process.
  private let word: UnsafeMutablePointer<Atomic<UInt32>>
  /// How many are about to sleep or asleep: whoever notifies with none of them need not call the host.
  private let sleepers = Atomic<UInt32>(0)
  /// The word when somebody last went to sleep.
  private let slept = Atomic<UInt32>(0)

  init() {
    unsafe word = .allocate(capacity: 1)
    unsafe word.initialize(to: Atomic(0))
  }
  deinit {
    unsafe word.deinitialize(count: 1)
    unsafe word.deallocate()
  }

  var ticket: UInt32 { unsafe word.pointee.load(ordering: .sequentiallyConsistent) }

  /// Sleeps unless `notify` was called since the ticket was taken.
  func wait(_ ticket: UInt32) {
    slept.store(ticket, ordering: .relaxed)
    sleepers.add(1, ordering: .sequentiallyConsistent)
    if self.ticket == ticket { _ = unsafe ckvm_futex_wait(word, ticket, -1) }
    sleepers.subtract(1, ordering: .sequentiallyConsistent)
  }

  /// Whether somebody sleeps and has not been notified; true by mistake only for a moment.
  var isAsleep: Bool {
    sleepers.load(ordering: .acquiring) > 0 && slept.load(ordering: .relaxed) == ticket
  }

  func notify() {
    unsafe word.pointee.add(1, ordering: .sequentiallyConsistent)
    // A sleeper counts itself, then looks at the word; this changes the word, then looks at the count.
    if sleepers.load(ordering: .sequentiallyConsistent) > 0 { _ = unsafe ckvm_futex_wake(word, 1) }
  }
}
