import CKVM
import ExoABI

extension Environment {
  /// Asks an environment for frames; what it has not given back in time is taken, and it lives on.
  ///
  /// - Parameters:
  ///   - frames: how many. What it may hold shrinks by what is given or taken.
  ///   - time: from now.
  /// - Returns: how many it gave of itself, how many were taken; together fewer than asked where the rest is guaranteed to it. All
  ///   of them if it has ended. Nil if it is being asked for something already.
  public func askBack(frames: UInt64, within time: Duration) async -> (given: UInt64, taken: UInt64)? {
    await withCheckedContinuation { continuation in
      do throws(Refusal) {
        let deadline = ckvm_monotonic() &+ time.nanoseconds
        let atOnce = try machine.withKernel { (kernel) throws(Refusal) in
          try kernel.ask(
            id, for: .frames, frames, by: deadline,
            asker: .host { continuation.resume(returning: ($0, $1)) })
        }
        if let atOnce {
          continuation.resume(returning: (atOnce, 0))
        } else {
          watchRevocation(until: deadline)
        }
      } catch {
        continuation.resume(returning: error == .absent ? (frames, 0) : nil)
      }
    }
  }

  /// Has the service look again at the deadline.
  func watchRevocation(until deadline: UInt64) {
    revocationDeadline.store(deadline, ordering: .sequentiallyConsistent)
    machine.service.notify()
  }

  /// Takes what is owed, if its time has come.
  func enforceRevocation(at now: UInt64) {
    let due = revocationDeadline.load(ordering: .relaxed)
    guard due <= now,
      revocationDeadline.compareExchange(expected: due, desired: .max, ordering: .sequentiallyConsistent)
        .exchanged
    else { return }
    machine.withKernel { $0.repossess(id, at: now) }
  }
}
