import CKVM
import Synchronization

/// Lets one thread sleep until another has something for it. A ticket taken before looking for work makes sure that
/// a notification in between is not lost.
@safe final class Parker: @unchecked Sendable {
  // Invariant: allocated and initialised here, freed in deinit; the futex is private to this process.
  private let word: UnsafeMutablePointer<Atomic<UInt32>>

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
  func wait(_ ticket: UInt32) { _ = unsafe ckvm_futex_wait(word, ticket, -1) }

  func notify() {
    unsafe word.pointee.add(1, ordering: .sequentiallyConsistent)
    _ = unsafe ckvm_futex_wake(word, 1)
  }
}
