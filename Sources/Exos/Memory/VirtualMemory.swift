import LibOS

/// Virtual memory as a library: regions with demand paging, copy-on-write, guard pages, stacks that grow, and paging by the
/// environment itself. It keeps its own account of every page; the page table is what the machine knows of it.
///
/// Not reentrant: whoever calls it from threads keeps events masked.
public final class VirtualMemory<Machine: PageMachine> {
  public var machine: Machine
  public private(set) var regions = RegionMap<VirtualRegion>()
  /// Regions that share each frame, by its slot.
  private var sharers: [Int] = []
  /// Addresses for regions that ask for none.
  private let bounds: Range<UInt64>
  /// Faults resolved, pages given up to stores and pages read back, since the beginning.
  public private(set) var statistics = (faults: 0, saved: 0, loaded: 0, copied: 0)

  public init(machine: Machine, bounds: Range<UInt64>) {
    self.machine = machine
    self.bounds = bounds
  }

  // MARK: - Regions

  /// Makes a region whose pages are zero and get memory when they are touched.
  /// - Parameters:
  ///   - start: of its first page; anywhere if left out.
  ///   - pages: its length.
  ///   - options: how it is backed and grows.
  ///   - store: where pages go that `frameLimit` leaves no frame to.
  /// - Throws: `noRoom`, `unsupported` for a limit without a store or of none.
  public func makeRegion(
    at start: UInt64? = nil, pages: Int, _ options: RegionOptions = RegionOptions(),
    store: (any PageStore)? = nil
  ) throws(VirtualMemoryError) -> VirtualRegion {
    guard pages > options.guardPages, (options.frameLimit == nil) == (store == nil),
      options.frameLimit ?? 1 > 0
    else { throw .unsupported }
    guard let start = start ?? regions.gap(pages: UInt64(pages), in: bounds) else { throw .noRoom }
    let region = VirtualRegion(start: start, pages: pages, options, store)
    guard regions.insert(start: start, pages: UInt64(pages), region) else { throw .noRoom }
    return region
  }

  /// Gives up a region and its memory.
  public func remove(_ region: VirtualRegion) throws(VirtualMemoryError) {
    guard regions[region.start] === region else { throw .noRegion }
    try refusing { () throws(ExocallError) in
      try machine.unmap(region.start, pages: UInt64(region.count))
    }
    _ = regions.remove(start: region.start)
    for page in region.pages {
      if case .resident(let frame) = page { release(frame) }
    }
  }

  /// A second region with the same content, at no cost until either is written.
  /// - Throws: `unsupported` for a region with a store, `noRoom`.
  public func copy(_ source: VirtualRegion, at start: UInt64? = nil) throws(VirtualMemoryError)
    -> VirtualRegion
  {
    guard source.store == nil else { throw .unsupported }
    let copy = try makeRegion(at: start, pages: source.count, source.options)
    copy.wanted = source.wanted
    do throws(VirtualMemoryError) {
      for page in source.pages.indices {
        guard case .resident(let frame) = source.pages[page] else { continue }
        copy.pages[page] = .resident(frame)
        sharers[frame.slot] += 1
        try map(page, of: copy)
      }
      // From here on neither may write what both see.
      try apply(to: source, source.pages.indices)
      return copy
    } catch {
      try remove(copy)
      throw error
    }
  }

  // MARK: - Faults

  /// Does what an access needs that has faulted.
  public func resolve(_ address: UInt64, isWrite: Bool) -> FaultOutcome {
    guard let region = regions[address] else { return .noRegion }
    let page = region.number(of: address)
    if page < region.options.guardPages { return .guardPage }
    let needed: Rights = isWrite ? .write : .read
    if !region.wanted[page].contains(needed) {
      guard region.options.rights.contains(needed), let onTrap = region.onTrap else { return .forbidden }
      return onTrap(address, isWrite) ? .trapped : .forbidden
    }
    statistics.faults += 1
    do throws(VirtualMemoryError) {
      if isWrite, case .resident(let frame) = region.pages[page], sharers[frame.slot] > 1 {
        try separate(page, of: region, from: frame)
      } else {
        let last = min(page + region.options.batch, region.count)
        try bringIn(page, of: region)
        for next in page + 1..<max(page + 1, last) where region.pages[next] == .untouched {
          // What was not asked for may be refused.
          guard !region.resident.isFull, (try? bringIn(next, of: region)) != nil else { break }
        }
      }
      return .resolved
    } catch { return .failed(error) }
  }

  /// Gives a page memory if it has none, and the rights it may have.
  private func bringIn(_ page: Int, of region: VirtualRegion) throws(VirtualMemoryError) {
    if case .resident = region.pages[page] {
      guard isMapped(page, of: region) else { return try map(page, of: region) }
      return try apply(to: region, page..<page + 1)
    }
    if region.resident.isFull { try evict(from: region) }
    let frame = try takeFrame(for: region)
    if region.pages[page] == .saved {
      do throws(PageStoreError) {
        try region.store?.load(page, into: machine.contents(of: frame))
        statistics.loaded += 1
      } catch {
        release(frame)
        throw .store(error)
      }
    }
    let before = region.pages[page]
    region.pages[page] = .resident(frame)
    region.resident.add(page)
    do throws(VirtualMemoryError) { try map(page, of: region) } catch {
      // What came from the store is nowhere else now: it stays, and the next access tries again.
      if before == .untouched {
        region.pages[page] = before
        region.resident.remove(page)
        release(frame)
      }
      throw error
    }
  }

  /// A page's own copy of what it has shared until now.
  private func separate(
    _ page: Int, of region: VirtualRegion, from shared: PageFrame
  ) throws(VirtualMemoryError) {
    let frame = try takeFrame(for: region)
    machine.contents(of: frame).copyMemory(from: machine.contents(of: shared), byteCount: 4096)
    let address = region.address(of: page)
    do throws(ExocallError) { try machine.unmap(address, pages: 1) } catch {
      release(frame)
      throw .refused(error)
    }
    region.pages[page] = .resident(frame)
    release(shared)
    statistics.copied += 1
    region.onCopy?(page, machine.contents(of: frame))
    try map(page, of: region)
  }

  // MARK: - Paging

  /// Moves a page of a region to its store.
  private func evict(from region: VirtualRegion) throws(VirtualMemoryError) {
    let choice = region.resident.evict { machine.entry(of: region.address(of: $0))?.isAccessed ?? false }
    guard let (victim, spared) = choice, case .resident(let frame) = region.pages[victim] else {
      throw .noFrames
    }
    let address = region.address(of: victim)
    do throws(VirtualMemoryError) {
      // Nothing may be written to it while it is saved.
      try refusing { () throws(ExocallError) in try machine.unmap(address, pages: 1) }
      do throws(PageStoreError) { try region.store?.save(victim, from: machine.contents(of: frame)) } catch {
        throw .store(error)
      }
    } catch {
      region.resident.add(victim)
      try? map(victim, of: region)
      throw error
    }
    region.pages[victim] = .saved
    statistics.saved += 1
    release(frame)
    // Their time begins again: a fresh entry is not accessed.
    for page in spared { try renew(page, of: region) }
  }

  /// Gives a page a fresh entry: neither accessed nor dirty.
  private func renew(_ page: Int, of region: VirtualRegion) throws(VirtualMemoryError) {
    guard case .resident = region.pages[page] else { return }
    let address = region.address(of: page)
    try refusing { () throws(ExocallError) in try machine.unmap(address, pages: 1) }
    try map(page, of: region)
  }

  private func takeFrame(for region: VirtualRegion) throws(VirtualMemoryError) -> PageFrame {
    guard let frame = machine.takeFrame() else { throw .noFrames }
    while sharers.count <= frame.slot { sharers.append(0) }
    sharers[frame.slot] = 1
    return frame
  }

  private func release(_ frame: PageFrame) {
    sharers[frame.slot] -= 1
    if sharers[frame.slot] == 0 { machine.giveFrame(frame) }
  }

  // MARK: - Protection (Appel and Li, Virtual Memory Primitives for User Programs, 1991)

  /// Changes what pages allow: PROT1, PROTN and UNPROT. Accesses that they forbid go to `onTrap`: TRAP.
  /// - Throws: `noRegion` if the range is not within the region, `unsupported` for more than it has, `refused`.
  public func protect(_ region: VirtualRegion, _ pages: Range<Int>, _ rights: Rights)
    throws(VirtualMemoryError)
  {
    guard pages.lowerBound >= 0, pages.upperBound <= region.count else { throw .noRegion }
    guard rights.isSubset(of: region.options.rights) else { throw .unsupported }
    for page in pages { region.wanted[page] = rights }
    try apply(to: region, pages)
  }

  /// Whether a page has been written since it was brought in or `forgetDirty` was called: DIRTY.
  public func isDirty(_ region: VirtualRegion, _ page: Int) -> Bool {
    machine.entry(of: region.address(of: page))?.isDirty ?? false
  }

  /// Begins to watch for writes, without a trap for any: afterwards no page is dirty.
  public func forgetDirty(_ region: VirtualRegion) throws(VirtualMemoryError) {
    for page in region.pages.indices where isDirty(region, page) { try renew(page, of: region) }
  }

  /// Has a page's content seen in a second region too: MAP2. Both are written as one.
  /// - Throws: `noRegion`, `unsupported` if the page has no memory or a store, or the other page has been used.
  public func alias(
    _ page: Int, of region: VirtualRegion, at other: Int, of second: VirtualRegion
  ) throws(VirtualMemoryError) {
    guard region.pages.indices.contains(page), second.pages.indices.contains(other) else { throw .noRegion }
    guard region.store == nil, second.store == nil, second.pages[other] == .untouched,
      case .resident(let frame) = region.pages[page], sharers[frame.slot] == 1
    else { throw .unsupported }
    // Not counted as shared: it is to be written in place.
    try refusing { () throws(ExocallError) in
      try machine.map(frame, at: second.address(of: other), second.wanted[other])
    }
  }

  /// What a page may allow at the moment: no writing to what others see.
  private func effective(_ page: Int, of region: VirtualRegion) -> Rights {
    guard case .resident(let frame) = region.pages[page], sharers[frame.slot] > 1 else {
      return region.wanted[page]
    }
    return region.wanted[page].subtracting(.write)
  }

  private func map(_ page: Int, of region: VirtualRegion) throws(VirtualMemoryError) {
    guard case .resident(let frame) = region.pages[page] else { return }
    let address = region.address(of: page)
    try refusing { () throws(ExocallError) in try machine.map(frame, at: address, region.options.rights) }
    let rights = effective(page, of: region)
    guard rights != region.options.rights else { return }
    do throws(ExocallError) { try machine.protect(address, pages: 1, rights) } catch {
      // More than it may allow must not stay.
      try? machine.unmap(address, pages: 1)
      throw .refused(error)
    }
  }

  /// Brings the page table in line with what the pages may allow, a run of equal ones at a time.
  private func apply(to region: VirtualRegion, _ pages: Range<Int>) throws(VirtualMemoryError) {
    var first = pages.lowerBound
    while first < pages.upperBound {
      guard isMapped(first, of: region) else {
        first += 1
        continue
      }
      let rights = effective(first, of: region)
      var end = first + 1
      while end < pages.upperBound, isMapped(end, of: region), effective(end, of: region) == rights {
        end += 1
      }
      let (address, count) = (region.address(of: first), UInt64(end - first))
      try refusing { () throws(ExocallError) in try machine.protect(address, pages: count, rights) }
      first = end
    }
  }

  /// A page may have a frame and yet no entry, where the machine once refused one.
  private func isMapped(_ page: Int, of region: VirtualRegion) -> Bool {
    guard case .resident = region.pages[page] else { return false }
    return machine.entry(of: region.address(of: page)) != nil
  }

  private func refusing(_ body: () throws(ExocallError) -> Void) throws(VirtualMemoryError) {
    do throws(ExocallError) { try body() } catch { throw .refused(error) }
  }
}
