import ExoABI

extension Kernel {
  /// Binds a frame, or the 512 of a huge page that begin with it, at a page of an environment. Authority was checked by
  /// the caller.
  mutating func mapPage(
    _ frame: Frame, at address: GuestAddress, rights: Rights, granted: Rights, huge: Bool = false,
    in id: EnvironmentID
  ) throws(Refusal) {
    // A walk through the window on the tables ends in a table: an entry made there would be the environment's own link.
    guard AddressSpace.isUserRange(address, pages: 1) else { throw .invalid }
    try cleanse(address, huge: huge ? frame : nil, in: id)
    // Room for the tables on the way.
    if frames.freeCount < 3 { reclaim() }
    guard var domain = domains[id] else { throw .absent }
    var made = 0
    let allowance = capabilities.quotas.account(of: id)?.available(.frames) ?? 0
    let slot = domain.shell.space.makeSlot(of: address, level: huge ? 1 : 0, in: memory) {
      guard made < allowance, let (frame, _) = frames.allocate(upTo: 1, kind: .pageTable, owner: id)
      else { return nil }
      made += 1
      return frame
    }
    // Tables made on the way stay with the shell even when the last one could not be had.
    if made > 0 {
      domains[id]?.shell = domain.shell
      try charge(made, to: id)
    }
    guard let slot else { throw made < allowance ? .noMemory : .quota }
    // A huge page cannot stand where a table is, even an empty one: tables are never taken apart.
    let there = memory.entry(at: slot)
    guard !there.isMapped, !there.isPresent else { throw .exists }
    let entry =
      huge
      ? PageTableEntry(huge: frame.address, rights: rights, granted: granted)
      : PageTableEntry(frame.address, rights: rights, granted: granted)
    memory.store(entry.bits, slot)
    for page in 0..<(huge ? AddressSpace.hugePages : 1) {
      frames.addMapping(
        .init(environment: id, address: address.advanced(byPages: page)), to: frame.advanced(by: page))
    }
  }

  /// Clears the entry that a mapping stands on and takes it, with its neighbours if the entry is a huge page's, off the
  /// inverted page map. Returns the frames whose translations must now be dropped.
  mutating func unbind(_ mapping: FrameTable.Mapping) -> [Frame] {
    guard let space = domains[mapping.environment]?.shell.space,
      let (slot, isHuge) = space.location(of: mapping.address, in: memory)
    else { return [] }
    let entry = PageTableEntry(bits: memory.exchange(slot, PageTableEntry.empty.bits))
    guard entry.isMapped, let first = frame(at: entry.address) else { return [] }
    guard isHuge else {
      frames.removeMapping(mapping, from: first)
      return [first]
    }
    taint(slot, in: mapping.environment)
    let base = GuestAddress(mapping.address.value & ~UInt64(AddressSpace.hugePages << 12 - 1))
    let unbound = (0..<AddressSpace.hugePages).map { page in
      let frame = first.advanced(by: page)
      frames.removeMapping(
        .init(environment: mapping.environment, address: base.advanced(byPages: page)), from: frame)
      return frame
    }
    taintFrames(first, allowed: 0)
    return unbound
  }

  /// Makes the hardware forget what was unbound. Every caller of `unbind` calls it before it returns.
  mutating func translationsOf(_ dropped: [Frame]) {
    if mustForgetTables { forgetTables() }
    forEachRun(of: dropped) { first, count in translations.drop(first, count: count) }
  }

  /// Unbinds pages. Absent pages are passed over; pinned ones, or a part of a huge one, refuse the whole range before
  /// anything is changed.
  mutating func unmap(_ address: GuestAddress, pages: Int, in id: EnvironmentID) throws(Refusal) {
    guard let domain = domains[id] else { throw .absent }
    try refusePinned(address, pages: pages, in: domain)
    try refusePartsOfHugePages(address, pages: pages, in: domain.shell.space)
    var dropped: [Frame] = []
    for page in 0..<pages {
      dropped += unbind(.init(environment: id, address: address.advanced(byPages: page)))
    }
    translationsOf(dropped)
    linger(dropped, in: id)
  }

  /// Lowers or restores the rights of pages that are bound, within what was granted when they were: all or none.
  mutating func protect(
    _ address: GuestAddress, pages: Int, rights: Rights, in id: EnvironmentID
  ) throws(Refusal) {
    var lowered = LoweredPages()
    try protect(address, pages: pages, rights: rights, in: id, &lowered)
    lower(lowered)
  }

  /// Makes the hardware forget what pages allowed before.
  mutating func lower(_ pages: LoweredPages) {
    for first in pages.hugePages { taintFrames(first, allowed: 1) }
    if mustForgetTables { forgetTables() }
    translations.lower(pages)
  }

  /// The same, but that the hardware still has to be made to forget what was lowered. Only entries are touched: who maps
  /// which frame does not change.
  func protect(
    _ address: GuestAddress, pages: Int, rights: Rights, in id: EnvironmentID, _ lowered: inout LoweredPages
  ) throws(Refusal) {
    guard let place = domains.index(forKey: id) else { throw .absent }
    let space = domains.values[place].shell.space
    let allowed = space.forEachEntryRun(of: address, pages: pages, in: memory) { run in
      memory.mayProtect(run, rights)
    }
    if !allowed { try refuseToProtect(address, pages: pages, rights: rights, in: domains.values[place]) }
    _ = space.forEachEntryRun(of: address, pages: pages, in: memory) { run in
      memory.protect(run, rights, &lowered)
      return true
    }
  }

  /// Why pages cannot be protected so. Returns where only the mark on a huge page's entry spoke against it, which stays
  /// when a page of it was pinned and is no more.
  private func refuseToProtect(
    _ address: GuestAddress, pages: Int, rights: Rights, in domain: Domain
  ) throws(Refusal) {
    let space = domain.shell.space
    try refusePinned(address, pages: pages, in: domain)
    try refusePartsOfHugePages(address, pages: pages, in: space)
    for page in 0..<pages {
      let entry = space.entry(of: address.advanced(byPages: page), in: memory)
      guard entry.isMapped else { throw .absent }
      guard rights.onHardware.isSubset(of: entry.granted) else { throw .notPermitted }
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
    var mapped: [GuestAddress] = []
    domain.shell.space.forEachMappedPage(in: memory) { address, entry, _ in
      guard let frame = frame(at: entry.address), frames.kind(of: frame) == .data else { return }
      mapped.append(address)
    }
    var dropped: [Frame] = []
    for address in mapped { dropped += unbind(.init(environment: id, address: address)) }
    // All of them, owned or not: a translation that outlives its entry would show the next user of the shell what
    // becomes of the frame.
    translationsOf(dropped)
  }
}
