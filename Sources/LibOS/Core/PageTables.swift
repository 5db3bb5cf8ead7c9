import ExoABI

/// An entry of a page table, as the hardware keeps it.
public struct PageTableEntry: Equatable, Sendable {
  public let bits: UInt64

  @inline(__always)
  public init(bits: UInt64) { self.bits = bits }

  /// The hardware may go on with it. A page that is bound but has no rights at the moment is not present.
  public var isPresent: Bool { bits & 1 != 0 }
  /// Whether it is bound to a frame at all.
  public var isBound: Bool { isPresent || !granted.isEmpty }
  /// What the page allows now.
  public var rights: Rights {
    guard isPresent else { return [] }
    return Rights(rawValue: UInt64(EXO_READ))
      .union(bits & 2 != 0 ? .write : []).union(bits >> 63 == 0 ? .execute : [])
  }
  /// What it may be made to allow again.
  public var granted: Rights { Rights(rawValue: bits >> 9 & 7) }
  /// Read, written or executed since it was bound.
  public var isAccessed: Bool { bits & 1 << 5 != 0 }
  /// Written since it was bound.
  public var isDirty: Bool { bits & 1 << 6 != 0 }
  /// At the second level: the entry of 2 MiB at once.
  public var isLarge: Bool { bits & 1 << 7 != 0 }
  /// Under a guarantee or one of the exokernel's own bindings.
  public var isPinned: Bool { bits & UInt64(EXO_PTE_PINNED) != 0 }
  /// Its protection key: 0 where there are none.
  public var key: UInt32 {
    UInt32(truncatingIfNeeded: bits >> UInt64(EXO_PTE_KEY_SHIFT)) & UInt32(EXO_KEYS - 1)
  }
  /// The same page with other rights.
  func allowing(_ rights: Rights) -> PageTableEntry {
    let fixed = bits & ~(1 << 63 | 3)
    if rights.isEmpty { return PageTableEntry(bits: fixed | 1 << 63) }
    return PageTableEntry(
      bits: fixed | 1 | (rights.contains(.write) ? 2 : 0) | (rights.contains(.execute) ? 0 : 1 << 63))
  }
  /// Where in physical memory it leads.
  public var physicalAddress: UInt64 { bits & 0x000f_ffff_ffff_f000 }
}

/// Where the words of a page table lie in the window on it: the tables of level `level` (0 for pages) seen as one array.
enum PageTableWindow {
  static func slot(of address: UInt64, level: UInt64) -> UInt64 {
    let base: UInt64 =
      switch level {
      case 0: UInt64(EXO_KIT_TABLES)
      case 1: UInt64(EXO_KIT_TABLES_LEVEL1)
      case 2: UInt64(EXO_KIT_TABLES_LEVEL2)
      default: UInt64(EXO_KIT_TABLES_LEVEL3)
      }
    return base + (address >> (12 + 9 * level)) * 8
  }
}
