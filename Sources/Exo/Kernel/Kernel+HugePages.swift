import ExoABI

/// Huge pages: 2 MiB in one second-level entry, so that a large region costs one entry, one table less, and, where the
/// hardware walks the environment's table itself, one place in its TLB.
///
/// They are the one case where an entry above the last level changes. Where KVM shadows page tables it has, behind such an
/// entry, a table of its own for the frames, and goes on following the link to it after the host has cleared the entry;
/// whatever is mapped there next would be entered into a table that describes other frames. So an entry that held a huge
/// page is tainted, and before it, or the shell it is part of, is used again, KVM is made to forget all its tables.
///
/// That table of KVM's own is common to all huge pages of the same frames and rights, whoever maps them. A link that stayed
/// behind is empty, for the frames' translations were dropped, until another mapping of the same frames fills the table
/// again: then it shows whoever had the page what that other one has. So the frames are tainted too, when an entry of
/// theirs is cleared or lowered: where another huge page of them is mapped KVM forgets its tables before the call
/// returns, and else before there is one.
extension AddressSpace {
  /// Address, frames and length all lie on 2 MiB boundaries.
  static func canBeHuge(_ first: Frame, at address: GuestAddress, pages: Int) -> Bool {
    let mask = UInt64(hugePages << 12 - 1)
    return first.address.value & mask == 0 && address.value & mask == 0 && pages % hugePages == 0
  }
}

extension Kernel {
  mutating func taint(_ slot: PhysicalAddress, in id: EnvironmentID) {
    domains[id]?.shell.tainted.insert(slot)
  }

  /// Notes that KVM may still follow an entry to the frames of a huge page that begin with this one, and with more
  /// rights than it gives now.
  ///
  /// - Parameter mappings: how many huge pages of theirs may be left without another being shown to the wrong one.
  mutating func taintFrames(_ first: Frame, allowed mappings: Int) {
    hugeTaint.insert(first)
    let others = frames.mappings(of: first).count { mapping in
      guard mapping.address.value & UInt64(AddressSpace.hugePages << 12 - 1) == 0 else { return false }
      let space = domains[mapping.environment]?.shell.space
      return space?.location(of: mapping.address, in: memory)?.isHuge ?? false
    }
    if others > mappings { mustForgetTables = true }
  }

  /// Makes sure that a huge page's frames may be mapped, or, with none, that the entries above a page may be used.
  mutating func cleanse(_ address: GuestAddress, huge: Frame?, in id: EnvironmentID) throws(Refusal) {
    if let huge, hugeTaint.contains(huge) { return forgetTables() }
    guard let shell = domains[id]?.shell, !shell.tainted.isEmpty else { return }
    guard let slot = shell.space.secondLevelSlot(of: address, in: memory), shell.tainted.contains(slot) else {
      return
    }
    forgetTables()
  }

  /// Makes KVM forget every table it keeps for this machine, while no environment is in guest mode. Costs each of them its
  /// translations; it is for what nothing else can undo.
  mutating func forgetTables() {
    let latches = domains.values.map(\.latch)
    for latch in latches { latch.beginHold() }
    defer { for latch in latches { latch.endHold() } }
    translations.forgetTables()
    hugeTaint = []
    mustForgetTables = false
    for id in domains.keys { domains[id]?.shell.tainted = [] }
    for index in shells.indices { shells[index].tainted = [] }
    for index in resting.indices { resting[index].tainted = [] }
    for index in surplus.indices { surplus[index].tainted = [] }
  }

  /// A range must cover each huge page in it wholly.
  func refusePartsOfHugePages(_ address: GuestAddress, pages: Int, in space: AddressSpace) throws(Refusal) {
    for edge in [address, address.advanced(byPages: pages)] {
      guard edge.value & UInt64(AddressSpace.hugePages << 12 - 1) != 0 else { continue }
      guard let (_, isHuge) = space.location(of: edge, in: memory), isHuge else { continue }
      throw .invalid
    }
  }
}
