import CKVM
import ExoABI
import Synchronization

/// Entries side by side in one table: up to 512 of the last level, or the one of a huge page.
struct EntryRun {
  let slot: PhysicalAddress
  let count: Int
  let isHuge: Bool
}

extension AddressSpace {
  /// Calls `body` with the entries that map a range, table by table. False, at once, where there is no table, where the
  /// range covers a huge page in part, or when `body` says so.
  @inline(__always)
  func forEachEntryRun(
    of address: GuestAddress, pages: Int, in memory: PhysicalMemory, _ body: (EntryRun) -> Bool
  ) -> Bool {
    var page = 0
    while page < pages {
      let at = address.advanced(byPages: page)
      guard let (slot, isHuge) = location(of: at, in: memory) else { return false }
      let inTable = Int(at.value >> 12 & 511)
      if isHuge {
        guard inTable == 0, pages - page >= Self.hugePages else { return false }
        guard body(EntryRun(slot: slot, count: 1, isHuge: true)) else { return false }
        page += Self.hugePages
      } else {
        let count = min(pages - page, 512 - inTable)
        guard body(EntryRun(slot: slot, count: count, isHuge: false)) else { return false }
        page += count
      }
    }
    return true
  }
}

/// The loops that mapping and changing protection consist of. The hardware may set A and D in the entries at any time.
extension PhysicalMemory {
  /// One of these bits is set in an entry that is bound to something.
  private static var mapped: UInt64 { PageTableEntry.grantedMask | PageTableEntry.present }

  private func words(_ run: EntryRun) -> UnsafeMutablePointer<Atomic<UInt64>> {
    let offset = Int(run.slot.value & 0xfff)
    precondition(offset & 7 == 0 && offset + run.count * 8 <= 4096, "entries beyond their table")
    let table = Frame(UInt32(truncatingIfNeeded: (run.slot.value - PhysicalAddress.memoryBase) >> 12))
    // `page` checks that the whole table is memory; Atomic<UInt64> has the layout of UInt64.
    return unsafe (page(table) + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Fills entries with an entry and its successors, a frame further each, up to the first that is not empty. Returns how
  /// many were filled.
  func fill(_ run: EntryRun, from first: PageTableEntry) -> Int {
    let words = unsafe words(run)
    for index in 0..<run.count {
      // Only the exokernel fills an empty entry.
      guard unsafe words[index].load(ordering: .relaxed) & Self.mapped == 0 else { return index }
      unsafe words[index].store(first.bits + UInt64(index) << 12, ordering: .releasing)
    }
    return run.count
  }

  /// Whether no entry is mapped.
  func isEmpty(_ run: EntryRun) -> Bool {
    let words = unsafe words(run)
    for index in 0..<run.count where unsafe words[index].load(ordering: .relaxed) & Self.mapped != 0 {
      return false
    }
    return true
  }

  /// Whether every entry is mapped.
  func isBound(_ run: EntryRun) -> Bool {
    let words = unsafe words(run)
    for index in 0..<run.count where unsafe words[index].load(ordering: .relaxed) & Self.mapped == 0 {
      return false
    }
    return true
  }

  /// Gives every entry this key. Notes those that the hardware may remember with another.
  func setKey(_ run: EntryRun, _ key: Int, _ changed: inout LoweredPages) {
    let wanted = UInt64(key) << UInt64(EXO_PTE_KEY_SHIFT)
    change(run, PageTableEntry.keyMask, to: wanted) { seen in
      changed.onlyWrites = false
      note(seen, run, &changed)
    }
  }

  /// Whether every entry is mapped, was granted `rights` and is not pinned.
  func mayProtect(_ run: EntryRun, _ rights: Rights) -> Bool {
    let words = unsafe words(run)
    // They will be changed: one trip to the other processor's cache for a line, not two.
    for index in stride(from: 0, to: run.count, by: 8) {
      unsafe ckvm_prefetch_for_write(UnsafeRawPointer(words + index))
    }
    let needed = UInt64(rights.onHardware.rawValue) << 9
    var (inAll, inSome) = (UInt64.max, UInt64(0))
    for index in 0..<run.count {
      let bits = unsafe words[index].load(ordering: .relaxed)
      inAll &= bits
      inSome |= bits
    }
    guard inAll & needed == needed, inSome & PageTableEntry.pinned == 0 else { return false }
    // What was granted something is mapped.
    return needed != 0 || isBound(run)
  }

  /// Gives every entry these rights; A, D, the frame and the grant stay. Notes what was lost.
  func protect(_ run: EntryRun, _ rights: Rights, _ lowered: inout LoweredPages) {
    let mask = PageTableEntry.present | PageTableEntry.writable | PageTableEntry.noExecute
    let wanted = PageTableEntry.protection(rights)
    if raise(run, mask, to: wanted) { return }
    change(run, mask, to: wanted) { seen in
      let lost =
        seen & ~wanted & (PageTableEntry.present | PageTableEntry.writable)
        | wanted & ~seen & PageTableEntry.noExecute
      guard lost != 0 else { return }
      if lost != PageTableEntry.writable { lowered.onlyWrites = false }
      note(seen, run, &lowered)
    }
  }

  /// The same where nothing is lost: what stood there need not be known, which makes it one instruction for each entry. False as
  /// soon as something would be.
  private func raise(_ run: EntryRun, _ mask: UInt64, to wanted: UInt64) -> Bool {
    let words = unsafe words(run)
    for index in 0..<run.count {
      let seen = unsafe words[index].load(ordering: .relaxed)
      guard seen & mask & ~wanted == 0, wanted & ~seen & PageTableEntry.noExecute == 0 else { return false }
      if seen & mask != wanted { _ = unsafe words[index].bitwiseOr(wanted, ordering: .acquiringAndReleasing) }
    }
    return true
  }

  /// Gives some bits of every entry other values. `body` gets what stood in those that changed, were present and
  /// have been accessed: others are in no translation.
  @inline(__always)
  private func change(_ run: EntryRun, _ mask: UInt64, to wanted: UInt64, _ body: (UInt64) -> Void) {
    let words = unsafe words(run)
    for index in 0..<run.count {
      var seen = unsafe words[index].load(ordering: .relaxed)
      if seen & mask == wanted { continue }
      while true {
        // A plain store would lose an A or D bit that is set meanwhile.
        let outcome = unsafe words[index].compareExchange(
          expected: seen, desired: seen & ~mask | wanted, ordering: .acquiringAndReleasing)
        if outcome.exchanged { break }
        seen = outcome.original
      }
      if seen & PageTableEntry.present != 0, seen & PageTableEntry.accessed != 0 { body(seen) }
    }
  }

  @inline(__always)
  private func note(_ seen: UInt64, _ run: EntryRun, _ lowered: inout LoweredPages) {
    let offset = (seen & PageTableEntry.addressMask) &- PhysicalAddress.memoryBase
    guard offset < size else { return }
    let frame = Frame(UInt32(truncatingIfNeeded: offset >> 12))
    lowered.frames.append(frame, count: run.isHuge ? AddressSpace.hugePages : 1)
    if run.isHuge { lowered.hugePages.append(frame) }
  }
}
