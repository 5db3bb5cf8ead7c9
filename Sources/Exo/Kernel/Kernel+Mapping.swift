import ExoABI

extension Kernel {
  /// Binds a frame at a page of an environment. Authority was checked by the caller.
  mutating func mapPage(
    _ frame: Frame, at address: GuestAddress, rights: Rights, granted: Rights, in id: EnvironmentID
  ) throws(Refusal) {
    guard var domain = domains[id] else { throw .absent }
    var made = 0
    let allowance = capabilities.quotas.account(of: id)?.available(.frames) ?? 0
    let slot = domain.shell.space.makeSlot(of: address, in: memory) {
      guard made < allowance, let (frame, _) = frames.allocate(upTo: 1, kind: .pageTable, owner: id)
      else { return nil }
      made += 1
      return frame
    }
    // Tables made on the way stay with the shell even when the last one could not be had.
    if made > 0 {
      domains[id] = domain
      try charge(made, to: id)
    }
    guard let slot else { throw made < allowance ? .noMemory : .quota }
    guard !memory.entry(at: slot).isMapped else { throw .exists }
    memory.store(PageTableEntry(frame.address, rights: rights, granted: granted).bits, slot)
    frames.addMapping(.init(environment: id, address: address), to: frame)
  }

  /// Clears the entry of a page and returns what it was. The translation must be dropped after.
  @discardableResult
  func clearEntry(at address: GuestAddress, in space: AddressSpace) -> PageTableEntry {
    guard let slot = space.slot(of: address, in: memory) else { return .empty }
    return PageTableEntry(bits: memory.exchange(slot, PageTableEntry.empty.bits))
  }

  /// Unbinds pages. Absent pages are passed over; pinned ones refuse the whole range before anything is changed.
  mutating func unmap(_ address: GuestAddress, pages: Int, in id: EnvironmentID) throws(Refusal) {
    guard let domain = domains[id] else { throw .absent }
    try refusePinned(address, pages: pages, in: domain)
    var dropped: [Frame] = []
    for page in 0..<pages {
      let at = address.advanced(byPages: page)
      let entry = clearEntry(at: at, in: domain.shell.space)
      guard entry.isMapped, let frame = frame(at: entry.address) else { continue }
      frames.removeMapping(.init(environment: id, address: at), from: frame)
      if entry.isPresent { dropped.append(frame) }
    }
    forEachRun(of: dropped) { first, count in translations.drop(first, count: count) }
  }

  /// Lowers or restores the rights of pages that are bound, within what was granted when they were.
  mutating func protect(
    _ address: GuestAddress, pages: Int, rights: Rights, in id: EnvironmentID
  ) throws(Refusal) {
    guard let domain = domains[id] else { throw .absent }
    try refusePinned(address, pages: pages, in: domain)
    let space = domain.shell.space
    for page in 0..<pages {
      let entry = space.entry(of: address.advanced(byPages: page), in: memory)
      guard entry.isMapped else { throw .absent }
      guard rights.isSubset(of: entry.granted) else { throw .notPermitted }
    }
    var lowered: [Frame] = []
    var onlyWrites = true
    for page in 0..<pages {
      guard let slot = space.slot(of: address.advanced(byPages: page), in: memory) else { continue }
      let before = memory.updateEntry(at: slot) { $0.with(rights: rights) }
      let lost = before.rights.subtracting(rights)
      guard !lost.isEmpty, let frame = frame(at: before.address) else { continue }
      lowered.append(frame)
      if lost != .write { onlyWrites = false }
    }
    forEachRun(of: lowered) { first, count in
      if onlyWrites {
        translations.dropWrites(first, count: count)
      } else {
        translations.drop(first, count: count)
      }
    }
  }

  private func refusePinned(_ address: GuestAddress, pages: Int, in domain: Domain) throws(Refusal) {
    guard !domain.pinned.isEmpty else { return }
    for page in 0..<pages where domain.pinned[address.advanced(byPages: page)] != nil { throw .busy }
  }

  /// The frame at a physical address; nil if no memory is there.
  func frame(at address: PhysicalAddress) -> Frame? {
    guard memory.contains(address, count: 4096) else { return nil }
    return Frame(UInt32((address.value - PhysicalAddress.memoryBase) >> 12))
  }

  /// Clears every entry of a dead environment outside the kit. Frames that others own are dropped here; its own are
  /// when they are retired.
  mutating func clearUserMappings(of id: EnvironmentID) {
    guard let domain = domains[id] else { return }
    var found: [(address: GuestAddress, frame: Frame)] = []
    domain.shell.space.forEachMappedPage(in: memory) { address, entry, slot in
      guard let frame = frame(at: entry.address), frames.kind(of: frame) == .data else { return }
      memory.store(PageTableEntry.empty.bits, slot)
      found.append((address, frame))
    }
    for (address, frame) in found {
      frames.removeMapping(.init(environment: id, address: address), from: frame)
    }
    // All of them, owned or not: a translation that outlives its entry would show the next user of the shell what
    // becomes of the frame.
    forEachRun(of: found.map(\.frame)) { first, count in translations.drop(first, count: count) }
  }
}
