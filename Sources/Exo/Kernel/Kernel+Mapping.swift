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

  /// Binds frames side by side at consecutive pages, table by table: all or none. Authority was checked by the caller.
  mutating func mapPages(
    _ first: Frame, at address: GuestAddress, pages: Int, rights: Rights, granted: Rights,
    in id: EnvironmentID
  ) throws(Refusal) {
    guard AddressSpace.isUserRange(address, pages: pages) else { throw .invalid }
    let entry = PageTableEntry(first.address, rights: rights, granted: granted)
    var page = 0
    do throws(Refusal) {
      while page < pages {
        let at = address.advanced(byPages: page)
        guard let place = domains.index(forKey: id) else { throw .absent }
        // The first page of a table that is not there, or not to be used as it is, makes it so.
        guard domains.values[place].shell.tainted.isEmpty,
          let slot = domains.values[place].shell.space.slot(of: at, in: memory)
        else {
          try mapPage(first.advanced(by: page), at: at, rights: rights, granted: granted, in: id)
          page += 1
          continue
        }
        let wanted = min(pages - page, 512 - Int(at.value >> 12 & 511))
        let run = EntryRun(slot: slot, count: wanted, isHuge: false)
        let count = memory.fill(run, from: PageTableEntry(bits: entry.bits + UInt64(page) << 12))
        frames.addMappings(of: first.advanced(by: page), count: count, at: at, in: id)
        page += count
        guard count == wanted else { throw .exists }
      }
    } catch {
      if page > 0 { try unmap(address, pages: page, in: id) }
      throw error
    }
  }

  /// The address space of an environment. To read it out of the dictionary would copy all that is bound for it.
  mutating func space(of id: EnvironmentID) -> AddressSpace? {
    func space(_ domain: inout Domain) -> AddressSpace { domain.shell.space }
    guard let place = domains.index(forKey: id) else { return nil }
    return space(&domains.values[place])
  }

  /// Whether nothing is bound to any page of a range.
  func isFree(_ address: GuestAddress, pages: Int, in space: AddressSpace) -> Bool {
    var page = 0
    while page < pages {
      let at = address.advanced(byPages: page)
      let count = min(pages - page, 512 - Int(at.value >> 12 & 511))
      if let (slot, isHuge) = space.location(of: at, in: memory) {
        guard !isHuge, memory.isEmpty(EntryRun(slot: slot, count: count, isHuge: false)) else { return false }
      }
      page += count
    }
    return true
  }

  /// Clears the entry that a mapping stands on and takes it, with its neighbours if the entry is a huge page's, off the
  /// inverted page map. Returns the frames whose translations must now be dropped: those that were accessed through it.
  mutating func unbind(_ mapping: FrameTable.Mapping) -> [Frame] {
    guard let space = domains[mapping.environment]?.shell.space,
      let (slot, isHuge) = space.location(of: mapping.address, in: memory)
    else { return [] }
    let entry = PageTableEntry(bits: memory.exchange(slot, PageTableEntry.empty.bits))
    guard entry.isMapped, let first = frame(at: entry.address) else { return [] }
    guard isHuge else {
      frames.removeMapping(mapping, from: first)
      return entry.wasAccessed ? [first] : []
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

  /// Unbinds what is bound in a range, table by table. Adds the frames whose translations must now be dropped.
  private mutating func unbind(
    _ address: GuestAddress, pages: Int, in id: EnvironmentID, _ dropped: inout [Frame]
  ) {
    guard let space = space(of: id) else { return }
    var page = 0
    while page < pages {
      let at = address.advanced(byPages: page)
      let count = min(pages - page, 512 - Int(at.value >> 12 & 511))
      if let (slot, isHuge) = space.location(of: at, in: memory) {
        if isHuge {
          dropped += unbind(.init(environment: id, address: at))
        } else {
          for index in 0..<count {
            let word = PhysicalAddress(slot.value + UInt64(index) * 8)
            guard memory.entry(at: word).isMapped else { continue }
            let entry = PageTableEntry(bits: memory.exchange(word, PageTableEntry.empty.bits))
            guard let frame = frame(at: entry.address) else { continue }
            frames.removeMapping(.init(environment: id, address: at.advanced(byPages: index)), from: frame)
            if entry.wasAccessed { dropped.append(frame) }
          }
        }
      }
      page += count
    }
  }

  /// Makes the hardware forget what was unbound. Every caller of `unbind` calls it before it returns.
  mutating func translationsOf(_ dropped: [Frame]) {
    if mustForgetTables { forgetTables() }
    translations.drop(runs(of: dropped, joiningGaps: Self.dropGap))
  }
  /// To drop one run of translations more costs about what it costs others to have the translations of so many frames in between
  /// made again.
  private static var dropGap: Int { 6 }

  /// Unbinds pages. Absent pages are passed over; pinned ones, or a part of a huge one, refuse the whole range before
  /// anything is changed.
  mutating func unmap(_ address: GuestAddress, pages: Int, in id: EnvironmentID) throws(Refusal) {
    guard let domain = domains[id] else { throw .absent }
    try refusePinned(address, pages: pages, in: domain)
    try refusePartsOfHugePages(address, pages: pages, in: domain.shell.space)
    var dropped: [Frame] = []
    unbind(address, pages: pages, in: id, &dropped)
    forget(dropped, in: id)
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
  mutating func protect(
    _ address: GuestAddress, pages: Int, rights: Rights, in id: EnvironmentID, _ lowered: inout LoweredPages
  ) throws(Refusal) {
    guard let space = space(of: id) else { throw .absent }
    let allowed = space.forEachEntryRun(of: address, pages: pages, in: memory) { run in
      memory.mayProtect(run, rights)
    }
    if !allowed, let domain = domains[id] {
      try refuseToProtect(address, pages: pages, rights: rights, in: domain)
    }
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

  /// Clears every entry of a dead environment outside the kit. Its vCPU has left guest mode for good, and no other is in its address
  /// space: nothing of what it mapped, or unbound before, is seen again until its shell serves another. That is told what to have
  /// forgotten first.
  mutating func clearUserMappings(of id: EnvironmentID) {
    guard let domain = domains[id] else { return }
    var mapped: [(first: GuestAddress, pages: Int)] = []
    domain.shell.space.forEachMappedPage(in: memory) { address, entry, _ in
      guard let frame = frame(at: entry.address), frames.kind(of: frame) == .data else { return }
      if let last = mapped.last, last.first.advanced(byPages: last.pages) == address {
        mapped[mapped.count - 1].pages += 1
      } else {
        mapped.append((address, 1))
      }
    }
    var dropped: [Frame] = []
    for (first, pages) in mapped { unbind(first, pages: pages, in: id, &dropped) }
    if mustForgetTables { forgetTables() }
    // Owned or not: a translation that outlives its entry would show the next user of the shell what becomes of the frame.
    dropped += takeLingering(of: id)
    domains[id]?.shell.seen = dropped
  }
}
