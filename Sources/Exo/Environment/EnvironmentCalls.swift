import CKVM
import ExoABI

/// Exocalls by which one environment makes and governs others.
extension Environment {
  func carryOutOnEnvironment(_ call: Exocall, tag: UInt64) throws(Refusal) -> Answer? {
    switch call {
    case .environmentCreate(let quota, let placement):
      let (handle, child) = try machine.create(by: self, quota, on: placement)
      return Answer(handle, (UInt64(child.id.number), 0))
    case .eventPost(let handle, let value):
      let receiver = try target(handle, needing: .deliver)
      guard receiver.scheduling.withLock({ $0.state != .ended }) else { throw .absent }
      receiver.post(Event(kind: .message, data: id.number, value: value))
    case .slicesBind(let handle, let first, let count, let receiver):
      let runner = receiver.rawValue == 0 ? self : try target(receiver, needing: .control)
      let (number, slots) = try machine.withKernel { (kernel) throws(Refusal) in
        try kernel.slices(handle, first: first, count: count, in: id)
      }
      // Its vCPU belongs to one thread.
      guard runner.processor.number == number else { throw .invalid }
      runner.processor.bindSlices(slots, to: runner.id)
    case .revokeRequest(let handle, let kind, let amount, let deadline):
      let asked = try target(handle, needing: .control)
      let atOnce = try machine.withKernel { (kernel) throws(Refusal) in
        try kernel.ask(asked.id, for: kind, amount, by: deadline, asker: .environment(id, tag: tag))
      }
      guard let atOnce else {
        asked.watchRevocation(until: deadline)
        return nil
      }
      return Answer(Int64(atOnce), (atOnce, 0))
    case .environmentStart(let handle, let entryPoint):
      let child = try target(handle, needing: .control)
      guard child.processor.begin(child, at: entryPoint) else { throw .busy }
      machine.withKernel { $0.closeReadiness(of: child.id) }
      if trace.wants(.environment) { trace.record(.started, of: child.id) }
    case .environmentReady(let handle, let entryPoint):
      return Answer(Int64(try ready(try target(handle, needing: .control), at: entryPoint, through: handle)))
    case .environmentStop(let handle):
      let child = try target(handle, needing: .control)
      guard child !== self, child.processor.halt(child) else { throw .busy }
      // It is out of guest mode, and nobody comes in.
      machine.withKernel { $0.hold(gatesOf: child.id, true) }
    case .environmentResume(let handle):
      let child = try target(handle, needing: .control)
      guard child.processor.begin(child, at: nil) else { throw .busy }
      machine.withKernel { $0.hold(gatesOf: child.id, false) }
    case .environmentEnd(let handle, let status):
      try target(handle, needing: .control).requestEnd(.killed(status: status))
    case .environmentInspect(let handle):
      let child = try target(handle, needing: .inspect)
      let held = machine.withKernel { $0.domains[child.id]?.framesHeld ?? 0 }
      return Answer(Int64(child.scheduling.withLock { $0.code }), (UInt64(child.id.number), UInt64(held)))
    case .environmentWait(let handle):
      let child = try target(handle, needing: .inspect)
      guard child !== self else { throw .invalid }
      let ended = child.whenEnded { [weak self] outcome in
        self?.postLater(Completion(tag: tag, outcome.answer))
      }
      return ended?.answer
    default: throw .noSuchCall
    }
    return Answer()
  }

  /// Makes a child of this environment ready to be entered by it (`Readiness`), as it was if it has been.
  private func ready(
    _ child: Environment, at point: EntryPoint, through handle: CapabilityHandle
  ) throws(Refusal) -> Int {
    guard child.creatorID == id else { throw .notPermitted }
    guard child.processor === processor else { throw .invalid }
    guard child.isUnstarted, !child.endRequested.load(ordering: .sequentiallyConsistent) else { throw .busy }
    // Of two rings the second is not waited for but a moment: whoever has it may wait for the first.
    for _ in 0..<Self.ringTries {
      guard let result = tryReady(child, at: point, through: handle) else {
        ckvm_pause()
        continue
      }
      return try result.get()
    }
    throw .busy
  }
  private static let ringTries = 1_000

  /// Nil while somebody has the child's ring.
  private func tryReady(
    _ child: Environment, at point: EntryPoint, through handle: CapabilityHandle
  ) -> Result<Int, Refusal>? {
    child.ring.withLockIfAvailable { ring -> Result<Int, Refusal> in
      guard ring.isIdle, !child.isMarked.load(ordering: .relaxed),
        child.eventsPosted.load(ordering: .sequentiallyConsistent) == 0,
        !child.consolePending.load(ordering: .relaxed)
      else { return .failure(.busy) }
      processor.noteReady(child)
      do throws(Refusal) {
        let number = try machine.withKernel { (kernel) throws(Refusal) in
          try kernel.ready(child.id, at: point, by: id, through: handle)
        }
        ring.restart()
        child.setRingServed(ring.taken)
        return .success(number)
      } catch { return .failure(error) }
    }
  }

  /// The environment a handle names, which may have ended.
  private func target(_ handle: CapabilityHandle, needing rights: CapabilityRights) throws(Refusal)
    -> Environment
  {
    let named = try machine.withKernel { (kernel) throws(Refusal) in
      try kernel.environment(handle, needing: rights, in: id)
    }
    guard let environment = machine.environment(named) else { throw .absent }
    return environment
  }
}

extension Environment.Scheduling {
  /// As `environment_inspect` tells it. One that is to stop will not run on, though its processor has not put it aside.
  fileprivate var code: Int32 {
    switch state {
    case .runnable where stopRequested, .waiting where stopRequested: EXO_STATE_STOPPED
    case .created: EXO_STATE_CREATED
    case .runnable: EXO_STATE_RUNNABLE
    case .waiting: EXO_STATE_WAITING
    case .stopped: EXO_STATE_STOPPED
    case .ended: EXO_STATE_ENDED
    }
  }
}

extension Outcome {
  /// As `environment_wait` tells it.
  fileprivate var answer: Answer {
    let (code, values): (Int32, (UInt64, UInt64)) =
      switch self {
      case .exited(let status): (EXO_ENDED_EXITED, (UInt64(status), 0))
      case .faulted(let report):
        (EXO_ENDED_FAULTED, (UInt64(report.vector.number), report.address?.value ?? 0))
      case .misused: (EXO_ENDED_MISUSED, (0, 0))
      case .timeLimit: (EXO_ENDED_TIME_LIMIT, (0, 0))
      case .killed(let status): (EXO_ENDED_KILLED, (UInt64(status), 0))
      case .hostFailure(let error): (EXO_ENDED_HOST_FAILURE, (UInt64(error.code), 0))
      }
    return Answer(Int64(code), values)
  }
}
