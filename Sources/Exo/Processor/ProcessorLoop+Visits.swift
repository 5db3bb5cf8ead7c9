import CKVM
import ExoABI

/// vCPUs that are not where they belong: a transfer took one into another environment's address space (`Transfer`).
///
///     home       in its environment's address space
///     visiting   in another's, by a call that has not returned. Its time is still its environment's: the call donates it. What it
///                does is the other's: exocalls, faults and misuse follow the address space
///     adopted    its environment has ended, is stopped, or has given the call up. What the other was doing on it is not to be lost
///                for that, so the vCPU is the other's from then on, and its environment begins on a new one
///
/// All environments that can reach one another are on one processor, so this thread alone sees and moves these vCPUs.
extension ProcessorLoop {
  enum Place {
    case home
    case visiting(Environment)
    /// The vCPU is not this environment's any more.
    case left
  }

  /// Where a vCPU is, after what had to be done about it was done.
  func place(of box: VCPUBox, of environment: Environment, isAdopted: Bool) throws(HostError) -> Place {
    let root = box.root
    if root == environment.root.value {
      // A time that was set for a call that has returned.
      if !isAdopted { environment.callTimedOut.store(false, ordering: .relaxed) }
      return .home
    }
    guard let host = resident(at: root), !host.endRequested.load(ordering: .sequentiallyConsistent) else {
      // What it was doing there ends with the host.
      return try sendHome(box, of: environment, isAdopted: isAdopted) ? .home : .left
    }
    if !isAdopted, environment.callTimedOut.exchange(false, ordering: .sequentiallyConsistent) {
      try abandon(box, of: environment, in: host, .timedOut)
      return .left
    }
    if host.scheduling.withLock({ $0.stopRequested || $0.state == .stopped }) {
      guard !isAdopted else {
        disown(box, of: environment.id)
        adopt(box, by: host)
        return .left
      }
      try abandon(box, of: environment, in: host, .stopped)
      return .left
    }
    return .visiting(host)
  }

  /// Carries out what is left of a transfer that was interrupted between two instructions of the nucleus: nothing that it goes by may
  /// change before its end, and to let the vCPU run on would lose the reason for which it was to come out. Called before anybody
  /// who waits for that is let go on.
  func completeTransfer(_ vcpu: borrowing VCPU) throws(HostError) {
    guard let step = vcpu.transferStep else { return }
    var root = vcpu.systemRegisters.cr3
    func page(_ root: UInt64) -> (TransferPage, PhysicalMemory)? {
      resident(at: root & PageTableEntry.addressMask).map { ($0.transfer, $0.machine.memory) }
    }
    guard let (own, memory) = page(root) else { return }
    if case .forget(let place) = step { try forgetKeys(vcpu, place, own, memory) }
    var rax = vcpu.registers.rax
    switch step {
    case .forget, .load: rax = own.load(rax, in: memory)
    case .loadAlone: rax = own.loadAlone(in: memory)
    case .switchSpace, .leave: break
    }
    if step != .leave { root = rax }
    guard let (peer, _) = page(root) else { return }
    vcpu.finishTransfer(root: root & PageTableEntry.addressMask, rax: rax, frame: peer.words(in: memory))
  }

  /// The part of the stub that makes PKRU 0. Three pushes (1 byte each), which hold RCX, RDX and RAX downwards below the
  /// interrupt's frame; three times 2 bytes that clear them; WRPKRU, up to byte 12; three pops.
  private func forgetKeys(
    _ vcpu: borrowing VCPU, _ place: Int, _ page: TransferPage, _ memory: PhysicalMemory
  ) throws(HostError) {
    if place < 12 { try vcpu.clearKeys(at: hardware.keyOffset) }
    guard place >= 3 else { return }
    vcpu.setTransferRegisters(
      rcx: page.pushed(1, in: memory), rdx: page.pushed(2, in: memory), rax: page.pushed(3, in: memory))
  }

  /// Takes a vCPU out of where it is. An environment's own goes on at its entry, which learns that its call came to nothing; an
  /// adopted one is done with. Returns whether the environment has it still. One that is at home came back with what its
  /// environment does not take for an answer: a callee had called its caller from within the call.
  func sendHome(
    _ box: VCPUBox, of environment: Environment, isAdopted: Bool, _ why: TraceEvent.CallEnd = .ended
  ) throws(HostError) -> Bool {
    guard !isAdopted else {
      disown(box, of: environment.id)
      free(box)
      recycle()
      return false
    }
    if environment.trace.wants(.gate) { traceCallEnd(of: environment, box, why) }
    // Nothing of the host's is carried back.
    guard box.vcpu.settle() else { throw HostError("settling a virtual processor", -5) }
    try place(box, in: environment, at: entry(of: environment, .ended))
    return true
  }

  /// Leaves a vCPU to the environment that it is visiting; its own goes on elsewhere, and is told first. Until it has been, no answer
  /// is let in: the one to the call that is given up would be taken for good, and what waits to be told find nobody waiting.
  func abandon(
    _ box: VCPUBox, of environment: Environment, in host: Environment, _ kind: TransferPage.Kind
  ) throws(HostError) {
    if environment.trace.wants(.gate) {
      traceCallEnd(of: environment, box, kind == .timedOut ? .timedOut : .stopped)
    }
    active[environment.id] = nil
    parked[environment.id] = nil
    environment.machine.withKernel { $0.hold(returnsTo: environment.id, true) }
    let heir = heir(of: environment, in: host)
    if !start(heir, on: box) { adopt(box, by: heir) }
    told[environment.id] = kind.mark
    _ = try newVCPU(for: environment, at: entry(of: environment, kind))
  }

  /// Whose a vCPU is to be that an environment leaves in another. What has not been started runs for its maker (`Readiness`), and so
  /// for whom that runs for: up to the one that was called, or that the environment itself had made.
  private func heir(of environment: Environment, in host: Environment) -> Environment {
    var heir = host
    while heir.isUnstarted, heir.creatorID != environment.id, let maker = heir.creator.value { heir = maker }
    return heir
  }

  /// An environment that was only ready to be entered runs for itself, on the vCPU that it is on. False if it is started, or to end.
  private func start(_ environment: Environment, on box: VCPUBox) -> Bool {
    let starts = environment.scheduling.withLock {
      guard $0.state == .created else { return false }
      $0.state = .runnable
      return true
    }
    guard starts else { return false }
    environment.machine.withKernel { $0.closeReadiness(of: environment.id) }
    active[environment.id] = box
    if environment.trace.wants(.environment) { environment.trace.record(.started, of: environment.id) }
    processor.enqueue(environment)
    return true
  }

  /// Whose address space begins with a root table. Asked while others may hold the kernel's lock and wait for this thread, so it
  /// must not take it.
  func resident(at root: UInt64) -> Environment? {
    if let known = residents[root] { return known }
    let found = processor.readied(at: root)
    residents[root] = found
    return found
  }

  /// At the end of a turn: what an environment has only handed its time over to goes on without it.
  func handOver(_ box: VCPUBox, of environment: Environment, isAdopted: Bool) throws(HostError) {
    guard !isAdopted, environment.handsOver, box.root != environment.root.value,
      let host = resident(at: box.root), !host.endRequested.load(ordering: .sequentiallyConsistent)
    else { return }
    try abandon(box, of: environment, in: host, .timedOut)
  }

  /// Lets answers in again at the first exit at which an environment has taken RSP, which says what it is told, for a stack of its
  /// own. It rings a doorbell for that.
  func noteTold(_ environment: Environment, by vcpu: borrowing VCPU) {
    guard let mark = told[environment.id], vcpu.registers.rsp != mark else { return }
    told[environment.id] = nil
    environment.machine.withKernel { $0.hold(returnsTo: environment.id, false) }
  }

  private func disown(_ box: VCPUBox, of id: EnvironmentID) {
    let left = adopted[id]?.filter { $0 !== box } ?? []
    adopted[id] = left.isEmpty ? nil : left
  }
  private func adopt(_ box: VCPUBox, by host: Environment) {
    adopted[host.id, default: []].append(box)
    processor.rouse(host)
  }

  /// Where an environment is entered to be told something. One that visits another has an entry.
  private func entry(of environment: Environment, _ kind: TransferPage.Kind) -> EntryPoint {
    let entry = environment.entry
    return EntryPoint(
      entry: entry ?? GuestAddress(0), stack: GuestAddress(kind.mark),
      badge: TransferPage.badge(kind, 0, at: environment.root))
  }

  /// Before an environment's address space becomes another's: nobody is in it, and what is on its vCPUs elsewhere goes on there.
  func bringHomeAll(from environment: Environment) {
    residents[environment.root.value] = nil
    parked[environment.id] = nil
    told[environment.id] = nil
    let own =
      [active.removeValue(forKey: environment.id)].compactMap { $0 }
      + (adopted.removeValue(forKey: environment.id) ?? [])
    for box in own {
      if box.root != environment.root.value, let host = resident(at: box.root) {
        adopt(box, by: host)
      } else {
        free(box)
      }
    }
    for (id, box) in active where box.root == environment.root.value {
      guard let visitor = residents.values.first(where: { $0.id == id }) else { continue }
      if (try? sendHome(box, of: visitor, isAdopted: false)) == nil {
        visitor.requestEnd(.hostFailure(HostError("bringing a virtual processor home", -5)))
      }
    }
    for (id, boxes) in adopted {
      for box in boxes where box.root == environment.root.value {
        disown(box, of: id)
        free(box)
      }
    }
  }
}
