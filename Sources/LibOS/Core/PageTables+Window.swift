#if hasFeature(Embedded)
  import ExoABI
  import Synchronization

  /// This environment's own page table, read without a call; accessed and dirty bits are as the hardware last set them.
  public enum PageTables {
    /// The entry of a page, or of the 2 MiB it is part of; nil where nothing is bound.
    ///
    /// The word of an address under no table is not mapped itself, so the levels above are looked at first.
    /// - Parameter address: below `EXO_USER_LIMIT`.
    public static func entry(of address: UInt64) -> PageTableEntry? {
      guard address < UInt64(EXO_USER_LIMIT) else { return nil }
      for level: UInt64 in [3, 2, 1] {
        let entry = word(PageTableWindow.slot(of: address, level: level))
        guard entry.isPresent else { return nil }
        if level < 3, entry.isLarge { return entry }
      }
      let entry = word(PageTableWindow.slot(of: address, level: 0))
      return entry.isBound ? entry : nil
    }

    /// The number of the frame behind a page; nil where no memory is bound.
    public static func frame(of address: UInt64) -> UInt32? {
      guard let entry = entry(of: address), entry.physicalAddress >= Machine.memoryBase else {
        return nil
      }
      let within = entry.isLarge ? address >> 12 & 511 : 0
      return UInt32(truncatingIfNeeded: (entry.physicalAddress - Machine.memoryBase) >> 12 + within)
    }

    /// The entry at an address, and how many bytes it or the lack of a table speaks for.
    public static func nextEntry(_ address: UInt64) -> (entry: PageTableEntry?, step: UInt64) {
      var level: UInt64 = 3
      while level > 0 {
        let entry = word(PageTableWindow.slot(of: address, level: level))
        let step = 1 << (12 + 9 * level) as UInt64
        if !entry.isPresent { return (nil, step) }
        if level < 3, entry.isLarge { return (entry, step) }
        level -= 1
      }
      let entry = word(PageTableWindow.slot(of: address, level: 0))
      return (entry.isBound ? entry : nil, 4096)
    }

    /// The hardware may write it at any time, so it is not to be remembered.
    private static func word(_ slot: UInt64) -> PageTableEntry {
      let pointer = UnsafeMutablePointer<Atomic<UInt64>>(bitPattern: UInt(slot)).unsafelyUnwrapped
      return PageTableEntry(bits: pointer.pointee.load(ordering: .relaxed))
    }
  }
#endif
