import CKVM
import ExoABI
import Synchronization

/// Serving a ring: decode, then carry out, then answer. Any thread may do it; the ring's lock makes it one at a time.
extension Environment {
  /// Serves what is there, at most one ring's worth so that others get their turn. Returns whether there was
  /// anything, and where the next will show.
  @discardableResult
  func serveRing() -> (served: Bool, look: RingLook) {
    ring.withLock { ring in
      var served = 0
      do throws(RingMisuse) {
        // Looked at again under the lock: `Machine.retire` passes the lock before it gives the ring's pages away, so
        // whoever gets it later must leave them alone. It also makes `exit` the last call that is served.
        while served < Int(EXO_RING_CAPACITY), !endRequested.load(ordering: .sequentiallyConsistent),
          let submission = try ring.take()
        {
          served += 1
          let began = trace.wants(.exocall) ? ckvm_monotonic() : 0
          let result = serve(submission, &ring)
          if began != 0 { traceCall(submission.call, result: result, since: began) }
        }
      } catch {
        requestEnd(.misused(.ring(error)))
      }
      if served > 0 { announcePosted() }
      return (served > 0, ring.look)
    }
  }

  /// Returns the result, nil if it comes later.
  @inline(__always)
  private func serve(_ submission: Submission, _ ring: inout ExocallRing) -> Int64? {
    do throws(Refusal) {
      let call = try Exocall(submission)
      statistics.exocalls.count(submission.call)
      guard let answer = try carryOut(call, tag: submission.tag) else { return nil }
      post(Completion(tag: submission.tag, answer), &ring)
      return answer.result
    } catch {
      statistics.exocalls.countRefusal()
      post(Completion(tag: submission.tag, result: -Int64(error.code)), &ring)
      return -Int64(error.code)
    }
  }

  /// Counts a call that came another way than through the ring.
  func count(_ call: UInt32) {
    ring.withLock { _ in statistics.exocalls.count(call) }
  }

  /// Posts an answer. Followed by `announcePosted`, once for all that are posted together, for whoever falls asleep at this moment.
  @inline(__always)
  private func post(_ completion: Completion, _ ring: inout ExocallRing) {
    ring.post(completion)
    posted.store(ring.posted, ordering: .releasing)
    processor.completionPosted(self)
  }

  /// A sleeper announces itself, then looks at what was posted; this comes after the posting, and looks for a sleeper.
  private func announcePosted() {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    processor.completionPosted(self)
  }

  /// Posts the answer to a call that was accepted earlier, from whatever thread has it.
  func postLater(_ completion: Completion) {
    ring.withLock { ring in
      // As in `serveRing`.
      guard !endRequested.load(ordering: .sequentiallyConsistent) else { return }
      post(completion, &ring)
      announcePosted()
    }
  }

  /// Carries a decoded call out. Nil if its completion comes later.
  @inline(__always)
  private func carryOut(_ call: Exocall, tag: UInt64) throws(Refusal) -> Answer? {
    switch call {
    // What needs no state is answered in the loop that serves.
    case .null: return Answer()
    case .clock: return Answer(Int64(bitPattern: ckvm_monotonic()))
    default: return try carryOutWithState(call, tag: tag)
    }
  }

  @inline(never)
  private func carryOutWithState(_ call: Exocall, tag: UInt64) throws(Refusal) -> Answer? {
    if call.lasts { isMarked.store(true, ordering: .relaxed) }
    switch call {
    case .exit(let status):
      requestEnd(.exited(status: status))
      return nil
    case .consoleWrite(let address, let length):
      let bytes = try copyIn(address, length)
      console.withLock { $0.write(tag: tag, bytes) }
      consolePending.store(true, ordering: .relaxed)
      return nil
    case .consoleRead(let address, let length):
      try machine.withKernel { (kernel) throws(Refusal) in
        guard
          kernel.domains[id]?.shell.space.allows(.write, address, count: length, memory: kernel.memory)
            ?? false
        else { throw .badAddress }
      }
      try console.withLock { (console) throws(Refusal) in
        try console.read(tag: tag, into: address, length: length)
      }
      consolePending.store(true, ordering: .relaxed)
      return nil
    case .eventBind(let handler, let stackTop, let kinds):
      let binding = try machine.withKernel { (kernel) throws(Refusal) in
        try kernel.bindEvents(handler: handler, stackTop: stackTop, kinds: kinds, in: id)
      }
      eventBinding.withLock { $0 = binding }
      return Answer()
    case .eventUnbind:
      eventBinding.withLock { $0 = nil }
      try machine.withKernel { (kernel) throws(Refusal) in try kernel.unbindEvents(in: id) }
      return Answer()
    case .systemCallBind(let handler):
      try bindSystemCall(handler)
      return Answer()
    case .timerSet(let time):
      setTimer(time)
      machine.service.notify()
      return Answer()
    case .predicateBind(let rule, let length, let page):
      // Nobody looks at the old page once its guarantee goes.
      if length == 0 { setPredicate(nil) }
      let bound = try machine.withKernel { (kernel) throws(Refusal) in
        try kernel.bindPredicate(ruleAt: rule, length: length, page: page, in: id)
      }
      setPredicate(bound)
      return Answer()
    case .gateDeadline(let time):
      setCallDeadline(time)
      return Answer()
    case .packetSend(let ring):
      let sent = try machine.network.send(ring, of: id)
      machine.tell(sent.told)
      if sent.wentOut { machine.service.giveWay() }
      return Answer(Int64(sent.taken), (UInt64(sent.refused), UInt64(sent.dropped)))
    case .eventPost, .slicesBind, .revokeRequest, .environmentCreate, .environmentStart, .environmentReady,
      .environmentStop,
      .environmentResume,
      .environmentEnd,
      .environmentInspect, .environmentWait:
      return try carryOutOnEnvironment(call, tag: tag)
    default:
      return try machine.withKernel { (kernel) throws(Refusal) in
        try kernel.carryOut(call, for: id)
      }
    }
  }

  private func copyIn(_ address: GuestAddress, _ count: Int) throws(Refusal) -> [UInt8] {
    try machine.withKernel { (kernel) throws(Refusal) in
      var bytes: [UInt8] = []
      guard
        kernel.domains[id]?.shell.space.copyIn(address, count: count, memory: kernel.memory, to: &bytes)
          ?? false
      else { throw .badAddress }
      return bytes
    }
  }

  /// Does what the console can do now and posts the answers. Returns what is still to be waited for.
  func advanceConsole() {
    guard consolePending.load(ordering: .relaxed), !endRequested.load(ordering: .relaxed) else { return }
    ring.withLock { ring in
      // As in `serveRing`.
      guard !endRequested.load(ordering: .sequentiallyConsistent) else { return }
      let answers = console.withLock { console in
        let answers = console.advance()
        consolePending.store(!console.isIdle, ordering: .relaxed)
        return answers
      }
      for answer in answers {
        switch answer {
        case .result(let tag, let result): post(Completion(tag: tag, result: result), &ring)
        case .bytes(let tag, let address, let bytes):
          let written = machine.withKernel { kernel in
            kernel.domains[id]?.shell.space.copyOut(bytes[...], to: address, memory: kernel.memory) ?? false
          }
          post(
            Completion(tag: tag, result: written ? Int64(bytes.count) : -Int64(EXO_EFAULT)), &ring)
        }
      }
      announcePosted()
    }
  }
}

extension Kernel {
  /// The calls that change who may do what.
  mutating func carryOut(_ call: Exocall, for id: EnvironmentID) throws(Refusal) -> Answer {
    switch call {
    case .frameAllocate(let first, let count, let alignment):
      let (capability, run) = try allocateFrames(first, count: count, alignment: alignment, for: id)
      return Answer(capability, (UInt64(run.first.number), UInt64(run.count)))
    case .frameFree(let capability):
      guard try inspect(capability, in: id).resource.kind == .frames else { throw .badCapability }
      try drop(capability, in: id)
    case .capabilityDerive(let handle, let first, let pages, let rights):
      let derived = try derive(handle, first: first, pages: pages, rights: rights, in: id)
      return Answer(derived)
    case .capabilityGrant(let handle, let receiver, let first, let pages, let rights):
      let granted = try grant(handle, to: receiver, first: first, pages: pages, rights: rights, in: id)
      return Answer(granted)
    case .capabilityRevoke(let handle): return Answer(Int64(try revoke(handle, in: id)))
    case .capabilityDrop(let handle): try drop(handle, in: id)
    case .capabilityInspect(let handle): return try inspect(handle, in: id).answer
    case .capabilityNext(let handle):
      return Answer(next(after: handle, in: id))
    case .environmentMap(let target, let capability, let offset, let address, let pages, let rights):
      let child = try environment(target, needing: .control, in: id)
      try map(into: child, capability, offset: offset, at: address, pages: pages, rights: rights, by: id)
    case .slicesAllocate(let processor, let first, let count):
      let (handle, slot) = try allocateSlices(processor: processor, first: first, count: count, for: id)
      return Answer(handle, (UInt64(slot), UInt64(count)))
    case .guarantee(let address, let pages, let pinned):
      try guarantee(address, pages: pages, pinned, in: id)
    case .regionCreate(let size, let rule, let length):
      let handle = try createRegion(size: size, ruleAt: rule, length: length, for: id)
      return Answer(handle)
    case .regionAccess(let handle, let operation, let offset, let address, let length):
      try accessRegion(handle, operation, offset: offset, address: address, length: length, by: id)
    case .pageVector(let operation, let address, let count):
      return try carryOutVector(operation, at: address, count: count, for: id)
    case .map(let capability, let offset, let address, let pages, let rights, let huge):
      try map(capability, offset: offset, at: address, pages: pages, rights: rights, huge: huge, in: id)
    case .unmap(let address, let pages): try unmap(address, pages: pages, in: id)
    case .protect(let address, let pages, let rights):
      try protect(address, pages: pages, rights: rights, in: id)
    case .keySet(let address, let pages, let key): try setKey(key, address, pages: pages, in: id)
    case .exceptionBind(let vector, let handler, let stackTop, let withAddress):
      try bindException(
        vector, handler: handler, stackTop: stackTop, withAddress: withAddress, in: id)
    case .transferBind(let entry): try bindEntry(entry, in: id)
    case .gateCreate:
      let (handle, number) = try createGate(in: id)
      return Answer(handle, (UInt64(number), 0))
    case .gateConnect(let handle):
      let (number, isLocal) = try connect(handle, in: id)
      return Answer(Int64(number), (isLocal ? 1 : 0, 0))
    case .gateDisconnect(let number): try disconnect(number, in: id)
    case .gateSignal(let number):
      let peer = try peer(number, of: id)
      signals.append(
        (
          peer.environment,
          Event(kind: .gate, data: UInt32(peer.number), value: UInt64(EXO_GATE_SIGNALLED))
        ))
    case .exceptionUnbind(let vector): try unbindException(vector, in: id)
    case .packetRingBind(let address, let slots):
      return Answer(Int64(try bindPacketRing(address, slots: slots, in: id)))
    case .packetRingUnbind(let number): try unbindPacketRing(number, in: id)
    case .filterInstall(let address):
      let (handle, number) = try installFilter(at: address, in: id)
      return Answer(handle, (UInt64(number), 0))
    case .transmitDerive(let handle, let steps, let count):
      let (derived, number) = try deriveTemplate(handle, stepsAt: steps, count: count, in: id)
      return Answer(derived, (UInt64(number), 0))
    case .handlerBind(let handle, let program, let length, let region):
      if let fault = try bindHandler(handle, programAt: program, length: length, region: region, in: id) {
        return Answer(-Int64(EXO_EINVAL), (fault.reason.rawValue, UInt64(fault.instruction)))
      }
    case .transmitBind(let handle, let ring): try bindTemplate(handle, to: ring, in: id)
    default: throw .noSuchCall
    }
    return Answer()
  }
}

extension Authority {
  /// As `capability_inspect` tells it.
  fileprivate var answer: Answer {
    let (first, count) = resource.names
    return Answer(
      Int64(resource.kind.rawValue), (UInt64(rights.rawValue), UInt64(first) | UInt64(count) << 32))
  }
}
