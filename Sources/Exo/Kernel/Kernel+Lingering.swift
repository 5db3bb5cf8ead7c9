/// Translations that may outlive their entries. A vCPU in guest mode, or KVM on its behalf, may have read an entry just before it
/// was cleared and act on it just after the translation was dropped. That ends when the vCPU has left guest mode; what it left
/// behind ends when the translation is dropped once more (SUBSTRATE: unmap, zap, quiesce, zap, zero, remap, in that order).
///
/// For pages that an environment unbinds itself it can wait until it matters: until its authority over the frames goes, or the
/// frames go to another owner. Until then they are remembered here.
extension Kernel {
  /// The most frames remembered for one environment: more are settled at once.
  private static let lingeringLimit = 4096

  /// Notes that frames were unbound in an environment, and their translations dropped, while it may have been using them.
  mutating func linger(_ frames: [Frame], in id: EnvironmentID) {
    // The entries were cleared before this look at the latch, and the processor looks at them after it has passed it.
    guard !frames.isEmpty, domains[id]?.latch.isInGuest ?? false else { return }
    domains[id]?.lingering += frames
    lingerers.insert(id)
    if domains[id]?.lingering.count ?? 0 > Self.lingeringLimit { settle(id) }
  }

  /// When this returns nothing that was unbound in the environment is visible to it any more.
  mutating func settle(_ id: EnvironmentID) {
    lingerers.remove(id)
    guard let domain = domains[id], !domain.lingering.isEmpty else { return }
    domain.latch.evict()
    translationsOf(domain.lingering)
    domains[id]?.lingering = []
  }
}
