import CKVM

/// Environments without a vCPU. A machine has few of them, for each costs the host some 350 KiB: KVM's own state, and pages that it
/// keeps in store for the next shadow tables of each (`alive_memory` of the benchmark). An environment that has not run for long is
/// parked: what its vCPU held is kept beside, and the vCPU serves another.
///
/// Only a vCPU that is at home is parked, between two stays in guest mode. Whatever an environment can change is saved; the rest,
/// which is the same for all, is set when it is given a vCPU again.
extension ProcessorLoop {
  /// The most vCPUs of one processor while some can be parked.
  static let residentLimit = 64

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
  /// The beginning of its XSAVE area: what follows is zero, for most programs all but the first few hundred bytes.
  private let vectors: [UInt64]

  init(general: kvm_regs, system: kvm_sregs, vectors: borrowing [UInt64]) {
    self.general = general
    self.system = system
    self.vectors = Array(vectors[..<((vectors.lastIndex { $0 != 0 } ?? -1) + 1)])
  }
  /// The whole area.
  var area: [UInt64] { vectors + Array(repeating: 0, count: Self.areaWords - vectors.count) }
  static let areaWords = MemoryLayout<kvm_xsave>.size / 8
}
