import CKVM
import ExoABI

/// What of control transfer concerns an environment as it runs.
extension Environment {
  /// Its protected entry context, once bound.
  var entry: GuestAddress? { machine.withKernel { $0.domains[id]?.entry } }
  var hasEntry: Bool { entry != nil }

  /// Whether its transfers give no more than the rest of a slice. A word of its own.
  var handsOver: Bool {
    let word = trap.address.value + UInt64(EXO_CONTROL_OFFSET) + 8
    return machine.memory.load32(PhysicalAddress(word)) != 0
  }

  /// Sets or clears the time at which a call that has not returned is given up.
  func setCallDeadline(_ time: UInt64) {
    callTimedOut.store(false, ordering: .sequentiallyConsistent)
    callDeadline.store(time == 0 ? .max : time, ordering: .sequentiallyConsistent)
    machine.service.notify()
  }

  /// Has the processor's thread look at the call, if its time has come.
  func giveUpCall(at now: UInt64) {
    let due = callDeadline.load(ordering: .relaxed)
    guard due <= now,
      callDeadline.compareExchange(expected: due, desired: .max, ordering: .sequentiallyConsistent).exchanged
    else { return }
    callTimedOut.store(true, ordering: .sequentiallyConsistent)
    latch.kick()
  }

  /// Tells the peers of its connections whether it sleeps, as it is by the time the lock is held.
  func publishPresence() {
    guard hasPeers.load(ordering: .sequentiallyConsistent) else { return }
    machine.withKernel { kernel in
      kernel.publishPresence(of: id, isAsleep: isWaiting.load(ordering: .sequentiallyConsistent))
    }
  }
}
