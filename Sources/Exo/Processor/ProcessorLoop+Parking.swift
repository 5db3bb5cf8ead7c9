import CKVM

/// Environments without a vCPU. A machine has few of them, and each costs the host 190 KiB (SUBSTRATE); an environment that has not
/// run for long is parked: what its vCPU held is kept beside, and the vCPU serves another.
///
/// Only a vCPU that is at home is parked, between two stays in guest mode. Whatever an environment can change is saved; the rest,
/// which is the same for all, is set when it is given a vCPU again.
extension ProcessorLoop {
  /// The most vCPUs of one processor while some can be parked.
  static let residentLimit = 128

  /// Frees a vCPU of those that have not run for longest, sleepers first, if there are many.
  func makeRoom() {
    guard active.count >= Self.residentLimit else { return }
    var chosen: (id: EnvironmentID, sleeps: Bool, ran: UInt64)?
    for (id, box) in active {
      guard let environment = residents[box.root], environment.id == id else { continue }
      let sleeps = environment.isWaiting.load(ordering: .relaxed)
      if let best = chosen, (best.sleeps, best.ran) == (sleeps, box.ran) || best.sleeps && !sleeps {
        continue
      }
      if let best = chosen, best.sleeps == sleeps, best.ran <= box.ran { continue }
      chosen = (id, sleeps, box.ran)
    }
    guard let id = chosen?.id, let box = active[id], let context = try? box.vcpu.save() else { return }
    active[id] = nil
    residents[box.root]?.latch.setKicker(nil)
    parked[id] = context
    free(box)
    recycle()
  }
}

/// What a parked environment's vCPU held.
final class ParkedContext {
  let general: kvm_regs
  let system: kvm_sregs
  let vectors: kvm_xsave
  init(general: kvm_regs, system: kvm_sregs, vectors: kvm_xsave) {
    self.general = general
    self.system = system
    self.vectors = vectors
  }
}
