/// Translations that may outlive their entries. A vCPU in guest mode, or KVM on its behalf, may have read an entry just before it
/// was cleared and act on it just after the translation was dropped. That ends when the vCPU has left guest mode; what it left
/// behind ends when the translation is dropped once more (SUBSTRATE: unmap, zap, quiesce, zap, zero, remap, in that order).
///
/// For pages that an environment unbinds itself it can wait until it matters: until its authority over the frames goes, or the
/// frames go to another owner. Until then they are remembered here. So a frame that nobody maps and nobody lingers at is seen by
/// nobody, and needs no more than to be zeroed on its way to another owner.
extension Kernel {
  /// The most frames remembered for one environment: more are settled at once.
  private static let lingeringLimit = 4096

  /// Makes the hardware forget what was unbound in an environment, and remembers it if it may be seen there all the same.
  mutating func forget(_ unbound: [Frame], in id: EnvironmentID) {
    linger(unbound, in: id)
    translationsOf(unbound)
  }

  /// Notes that frames were unbound in an environment that may be using them. Their translations are dropped by the caller,
  /// after this: whoever read an entry before it was cleared, and left guest mode before the translations were dropped, would
  /// not be found in it afterwards.
  mutating func linger(_ unbound: [Frame], in id: EnvironmentID) {
    // The entries were cleared before this look at the latch, and the processor looks at them after it has passed it.
    guard !unbound.isEmpty, let latch = domains[id]?.latch, latch.isInGuest else { return }
    domains[id]?.lingering += unbound
    for frame in unbound { frames.addLingering(frame) }
    lingerers.insert(id)
    if domains[id]?.lingering.count ?? 0 > Self.lingeringLimit { settle(id) }
  }

  /// When this returns nothing that was unbound in the environment is visible to it any more.
  mutating func settle(_ id: EnvironmentID) {
    guard let domain = domains[id], !domain.lingering.isEmpty else { return }
    domain.latch.evict()
    translationsOf(takeLingering(of: id))
  }

  /// What was unbound in an environment and may be seen there, which is remembered no longer.
  mutating func takeLingering(of id: EnvironmentID) -> [Frame] {
    lingerers.remove(id)
    let taken = domains[id]?.lingering ?? []
    domains[id]?.lingering = []
    for frame in taken { frames.removeLingering(frame) }
    return taken
  }
}
