import ExoABI

/// The page table of one environment: four levels, 4 KiB pages. It only walks and builds; who may map what is
/// decided before (`Kernel+Memory`), and taking translations out of the hardware is done after.
struct AddressSpace: Sendable {
  let root: Frame
  /// Frames of the tables themselves, the root first: given back when the environment ends.
  private(set) var tables: [Frame]

  init(root: Frame) {
    self.root = root
    tables = [root]
  }

  /// Whole pages of the user half that may have entries: above the floor, and clear of the window on the tables.
  static func isUserRange(_ address: GuestAddress, pages: Int) -> Bool {
    guard address.isPageAligned, pages > 0, UInt64(pages) <= userPages else { return false }
    let start = address.value
    let (end, overflow) = start.addingReportingOverflow(UInt64(pages) << 12)
    guard !overflow, start >= UInt64(EXO_USER_FLOOR), end <= UInt64(EXO_USER_LIMIT) else { return false }
    // The window on the page table itself is nobody's to map.
    return end <= exo_kit_tables || start >= exo_kit_tables_end
  }
  private static let userPages = UInt64(EXO_USER_LIMIT) >> 12

  private static func index(_ address: GuestAddress, level: Int) -> UInt64 {
    address.value >> (12 + 9 * UInt64(level)) & 511
  }

  /// Links the root to itself, read-only, so that the environment reads its own tables at `EXO_KIT_TABLES`. The link
  /// is made once, before the first entry, and never changes.
  func exposeTables(in memory: PhysicalMemory) {
    let entry = PageTableEntry(bits: root.address.value | PageTableEntry.present | PageTableEntry.user)
    memory.store(
      entry.bits | PageTableEntry.noExecute,
      PhysicalAddress(root.address.value + UInt64(EXO_KIT_TABLES_SLOT) * 8))
  }

  /// Pages in a huge one, and how many bytes it covers.
  static let hugePages = 512

  /// Where the entry that maps a page lies, if the tables above it exist: in the last level, or, for a huge page, in
  /// the second.
  func location(
    of address: GuestAddress, in memory: PhysicalMemory
  ) -> (slot: PhysicalAddress, isHuge: Bool)? {
    var table = root.address
    for level in [3, 2, 1] {
      let slot = PhysicalAddress(table.value + Self.index(address, level: level) * 8)
      let entry = memory.entry(at: slot)
      if level == 1, entry.isHuge { return (slot, true) }
      guard entry.isPresent else { return nil }
      table = entry.address
    }
    return (PhysicalAddress(table.value + Self.index(address, level: 0) * 8), false)
  }

  /// Where the last-level entry of a page lies; nil without tables, and within a huge page.
  func slot(of address: GuestAddress, in memory: PhysicalMemory) -> PhysicalAddress? {
    guard let (slot, isHuge) = location(of: address, in: memory), !isHuge else { return nil }
    return slot
  }

  /// Where the second-level entry above a page lies, if the tables above that exist.
  func secondLevelSlot(of address: GuestAddress, in memory: PhysicalMemory) -> PhysicalAddress? {
    var table = root.address
    for level in [3, 2] {
      let entry = memory.entry(at: PhysicalAddress(table.value + Self.index(address, level: level) * 8))
      guard entry.isPresent else { return nil }
      table = entry.address
    }
    return PhysicalAddress(table.value + Self.index(address, level: 1) * 8)
  }

  /// The entry of a page, also of one within a huge page; empty if there is none.
  func entry(of address: GuestAddress, in memory: PhysicalMemory) -> PageTableEntry {
    guard let (slot, isHuge) = location(of: address, in: memory) else { return .empty }
    let entry = memory.entry(at: slot)
    return isHuge ? entry.small(Int(Self.index(address, level: 0))) : entry
  }

  /// What the environment may do with a page at this moment, and the entry that says where the page is. Every level of
  /// the walk counts, as for the hardware: behind the window on the tables the last entry allows more than the first.
  func access(to address: GuestAddress, in memory: PhysicalMemory) -> (rights: Rights, entry: PageTableEntry)
  {
    var rights = Rights.all
    var entry = PageTableEntry(bits: root.address.value)
    for level in [3, 2, 1, 0] {
      let slot = entry.address.value + Self.index(address, level: level) * 8
      entry = memory.entry(at: PhysicalAddress(slot))
      guard entry.isPresent, entry.bits & PageTableEntry.user != 0 else { return ([], .empty) }
      rights.formIntersection(entry.rights)
      if level == 1, entry.isHuge { return (rights, entry.small(Int(Self.index(address, level: 0)))) }
    }
    return (rights, entry)
  }

  /// Where the entry of a page lies at a level (0: last; 1: where huge pages are), making the tables above it from
  /// `newTable`. Nil when that runs out or a huge page is in the way.
  mutating func makeSlot(
    of address: GuestAddress, level: Int = 0, in memory: PhysicalMemory, newTable: () -> Frame?
  ) -> PhysicalAddress? {
    let user = address.value < UInt64(EXO_USER_LIMIT)
    var table = root.address
    for above in stride(from: 3, to: level, by: -1) {
      let slot = PhysicalAddress(table.value + Self.index(address, level: above) * 8)
      let entry = memory.entry(at: slot)
      if above == 1, entry.isHuge { return nil }
      if entry.isPresent {
        table = entry.address
      } else {
        guard let frame = newTable() else { return nil }
        tables.append(frame)
        memory.store(PageTableEntry(table: frame.address, user: user).bits, slot)
        table = frame.address
      }
    }
    return PhysicalAddress(table.value + Self.index(address, level: level) * 8)
  }

  /// Calls `body` with every page of the user half that is bound to something, in order of address, and where its
  /// entry lies. Each small page of a huge one counts; they share an entry.
  func forEachMappedPage(
    in memory: PhysicalMemory, _ body: (GuestAddress, PageTableEntry, _ slot: PhysicalAddress) -> Void
  ) {
    func visit(_ table: PhysicalAddress, level: UInt64, base: UInt64) {
      memory.forEachWord(of: Frame(UInt32((table.value - PhysicalAddress.memoryBase) >> 12))) { index, word in
        if level == 3, index >= 256 || index == Int(EXO_KIT_TABLES_SLOT) { return }
        let entry = PageTableEntry(bits: word)
        let address = base + UInt64(index) << (12 + 9 * level)
        let slot = PhysicalAddress(table.value + UInt64(index) * 8)
        if level == 0 {
          if entry.isMapped { body(GuestAddress(address), entry, slot) }
        } else if level == 1, entry.isHuge {
          for page in 0..<Self.hugePages {
            body(GuestAddress(address + UInt64(page) << 12), entry.small(page), slot)
          }
        } else if entry.isPresent {
          visit(entry.address, level: level - 1, base: address)
        }
      }
    }
    visit(root.address, level: 3, base: 0)
  }

  /// Copies `count` bytes of the environment's memory, which it must be able to read at this moment, to the end of
  /// `bytes`. False, with what was copied so far removed, if a page is absent.
  func copyIn(
    _ address: GuestAddress, count: Int, memory: PhysicalMemory, to bytes: inout [UInt8]
  ) -> Bool {
    let before = bytes.count
    let complete = forEachPiece(address, count: count, memory: memory, needing: .read) { physical, _, piece in
      memory.appendBytes(physical, count: piece, to: &bytes)
    }
    if !complete { bytes.removeSubrange(before...) }
    return complete
  }

  /// Copies bytes into the environment's memory, which it must be able to write at this moment.
  func copyOut(_ bytes: ArraySlice<UInt8>, to address: GuestAddress, memory: PhysicalMemory) -> Bool {
    forEachPiece(address, count: bytes.count, memory: memory, needing: .write) { physical, offset, piece in
      let start = bytes.startIndex + offset
      memory.write(bytes[start..<start + piece], at: physical)
    }
  }

  /// Whether every byte of the range is in memory that the environment has these rights to at this moment.
  func allows(_ rights: Rights, _ address: GuestAddress, count: Int, memory: PhysicalMemory) -> Bool {
    forEachPiece(address, count: count, memory: memory, needing: rights) { _, _, _ in }
  }

  private func forEachPiece(
    _ address: GuestAddress, count: Int, memory: PhysicalMemory, needing rights: Rights,
    _ body: (PhysicalAddress, _ offset: Int, _ count: Int) -> Void
  ) -> Bool {
    guard count >= 0, UInt64(count) <= UInt64(EXO_USER_LIMIT), address.value < UInt64(EXO_USER_LIMIT),
      UInt64(count) <= UInt64(EXO_USER_LIMIT) - address.value
    else { return false }
    var done = 0
    while done < count {
      let at = GuestAddress(address.value + UInt64(done))
      let (allowed, page) = access(to: GuestAddress(at.value & ~0xfff), in: memory)
      // The doorbell is mapped but is no memory.
      guard allowed.isSuperset(of: rights), memory.contains(page.address, count: 4096) else {
        return false
      }
      let piece = min(count - done, 4096 - at.pageOffset)
      body(PhysicalAddress(page.address.value + UInt64(at.pageOffset)), done, piece)
      done += piece
    }
    return true
  }
}
