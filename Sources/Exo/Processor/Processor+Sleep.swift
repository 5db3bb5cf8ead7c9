import CKVM
import ExoABI

/// Who can run: starting, sleeping, waking, stopping.
extension Processor {
  /// Called by whoever posted a completion.
  func completionPosted(_ environment: Environment) {
    if environment.isWaiting.load(ordering: .acquiring) { wake(environment) }
  }

  /// Makes an environment runnable if it sleeps and has a reason to wake.
  func wake(_ environment: Environment) {
    let wakes = environment.scheduling.withLock {
      // One that never started, or is stopped, has no vCPU to end it on: its processor takes it to finish it.
      let ends = environment.endRequested.load(ordering: .sequentiallyConsistent)
      if ends, $0.state == .created || $0.state == .stopped {
        $0.state = .runnable
        return true
      }
      guard $0.state == .waiting,
        environment.isPosted($0.awaited) || ends || environment.hasNewEvents(since: $0.eventsSeen)
          || environment.predicateMet.load(ordering: .sequentiallyConsistent)
      else { return false }
      $0.state = .runnable
      $0.eventsSeen = environment.eventsPosted.load(ordering: .sequentiallyConsistent)
      environment.isWaiting.store(false, ordering: .sequentiallyConsistent)
      return true
    }
    if wakes {
      enqueue(environment)
      environment.publishPresence()
    }
  }

  /// Makes an environment runnable that sleeps, because it has been given a vCPU to run. Called on its processor's thread.
  func rouse(_ environment: Environment) {
    let wakes = environment.scheduling.withLock {
      guard $0.state == .waiting else { return false }
      $0.state = .runnable
      environment.isWaiting.store(false, ordering: .sequentiallyConsistent)
      return true
    }
    if wakes {
      enqueue(environment)
      environment.publishPresence()
    }
  }

  /// Starts an environment that was created or stopped. False if it is neither.
  func begin(_ environment: Environment, at entryPoint: EntryPoint?) -> Bool {
    let (begins, enqueues) = environment.scheduling.withLock {
      if let entryPoint {
        guard $0.state == .created else { return (false, false) }
        $0.entryPoint = entryPoint
      } else {
        // A stop that has not been heeded yet is taken back: it runs, sleeps or is queued already.
        if $0.stopRequested {
          $0.stopRequested = false
          return (true, false)
        }
        guard $0.state == .stopped else { return (false, false) }
      }
      $0.state = .runnable
      return (true, true)
    }
    if enqueues { enqueue(environment, .begins) }
    return begins
  }

  /// Has the environment out of guest mode until `begin`. False if it does not run.
  func halt(_ environment: Environment) -> Bool {
    let halts = environment.scheduling.withLock {
      guard $0.state == .runnable || $0.state == .waiting else { return false }
      $0.stopRequested = true
      return true
    }
    if halts {
      // It may be about to enter: the kick waits for it there.
      environment.latch.kick()
      environment.latch.evict()
    }
    return halts
  }

  /// Whether a stop was asked for: the environment is then stopped. One that is to end goes on, to be finished:
  /// whoever ends it queues it only if it finds it stopped.
  func letsGo(of environment: Environment) -> Bool {
    environment.scheduling.withLock {
      guard $0.stopRequested, !environment.endRequested.load(ordering: .sequentiallyConsistent) else {
        return false
      }
      $0.stopRequested = false
      $0.state = .stopped
      return true
    }
  }

  /// Puts an environment to sleep until the completion is posted. False if it has been, so that it may go on.
  func putToSleep(_ environment: Environment, until completion: UInt32) -> Bool {
    environment.predicateMet.store(false, ordering: .sequentiallyConsistent)
    if environment.predicateHolds(at: ckvm_monotonic()) { return false }
    let sleeps = environment.scheduling.withLock {
      environment.sleepNumber.add(1, ordering: .releasing)
      environment.isWaiting.store(true, ordering: .sequentiallyConsistent)
      if environment.isPosted(completion) || environment.endRequested.load(ordering: .sequentiallyConsistent)
        || environment.hasNewEvents(since: $0.eventsSeen)
      {
        $0.eventsSeen = environment.eventsPosted.load(ordering: .sequentiallyConsistent)
        environment.isWaiting.store(false, ordering: .sequentiallyConsistent)
        return false
      }
      $0.state = .waiting
      $0.awaited = completion
      return true
    }
    if sleeps {
      environment.publishPresence()
      // Somebody must look at the condition from now on.
      if environment.hasPredicate.load(ordering: .relaxed) { environment.machine.service.lookAtClocks() }
    }
    return sleeps
  }
}
