import CKVM
import ExoABI

/// Virtual processors: each environment has one while it runs, made or taken from those that others have left.
extension ProcessorLoop {
  /// The environment's vCPU, set up at its entry when it runs for the first time.
  func vcpu(for environment: Environment) throws(HostError) -> VCPUBox {
    if let box = active[environment.id] { return box }
    return try newVCPU(
      for: environment, at: environment.scheduling.withLock { $0.entryPoint } ?? .nowhere)
  }

  /// On which of its vCPUs an environment runs next: those that it adopted take turns with its own.
  func nextBox(of environment: Environment) throws(HostError) -> (VCPUBox, isAdopted: Bool) {
    if let box = adopted[environment.id]?.first, ranAdopted.insert(environment.id).inserted {
      return (box, true)
    }
    ranAdopted.remove(environment.id)
    return (try vcpu(for: environment), false)
  }

  func newVCPU(for environment: Environment, at point: EntryPoint) throws(HostError) -> VCPUBox {
    let began = ckvm_monotonic()
    makeRoom()
    let box: VCPUBox
    if let pooled = pool.popLast() { box = pooled } else { box = try newVCPU() }
    try hardware.prepare(box.vcpu, root: environment.root)
    environment.machine.adoptSubstrate()
    if box.kind != hardware.mechanisms.kind { try setModelRegisters(box) }
    if environment.systemCallHandler != nil {
      environment.systemCallDue.store(true, ordering: .sequentiallyConsistent)
    }
    box.vcpu.reset(root: environment.root, at: point, control: hardware.control)
    if let context = parked.removeValue(forKey: environment.id) { try box.vcpu.restore(context) }
    active[environment.id] = box
    residents[environment.root.value] = environment
    let spent = ckvm_monotonic() &- began
    environment.statistics.update { $0.startup.append(("vcpu", spent)) }
    return box
  }

  func newVCPU() throws(HostError) -> VCPUBox {
    let box = VCPUBox(try hardware.newVCPU())
    box.vcpu.alignClock()
    try setModelRegisters(box)
    return box
  }

  /// As they are for an environment that has bound nothing to SYSCALL.
  private func setModelRegisters(_ box: VCPUBox) throws(HostError) {
    let mechanisms = hardware.mechanisms
    try box.vcpu.setModelRegisters(
      xcr0: hardware.control.xcr0, systemCall: mechanisms.systemCallRegisters(handler: nil))
    box.kind = mechanisms.kind
  }

  /// Every register of a vCPU that holds nobody's state, for an environment to begin with.
  func place(_ box: VCPUBox, in environment: Environment, at point: EntryPoint) throws(HostError) {
    try box.vcpu.clearState(withKeys: hardware.keysAreOn)
    try setModelRegisters(box)
    box.vcpu.reset(root: environment.root, at: point, control: hardware.control)
  }

  /// A vCPU is nobody's any more. It is cleared when there is time (`recycle`).
  func free(_ box: VCPUBox) {
    box.tracedHost = nil
    if box.vcpu.settle() { used.append(box) }
  }

  /// Clears the vCPUs that were freed, so that whoever comes next need not wait for it. One that cannot be cleared is closed.
  func recycle() {
    for box in used
    where (try? box.vcpu.clearState(withKeys: hardware.keysAreOn)) != nil
      && (try? setModelRegisters(box)) != nil
    {
      pool.append(box)
    }
    used = []
  }
}
