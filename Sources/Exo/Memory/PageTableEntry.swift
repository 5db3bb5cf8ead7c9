import ExoABI

/// One entry of an x86-64 page table (Intel SDM 3A 4.5). What was granted stays in software bits 9 to 11, so that
/// an environment may lower and restore protection without a second check of authority.
struct PageTableEntry: Hashable, Sendable {
  var bits: UInt64
  init(bits: UInt64) { self.bits = bits }

  static let present: UInt64 = 1 << 0
  static let writable: UInt64 = 1 << 1
  static let user: UInt64 = 1 << 2
  static let accessed: UInt64 = 1 << 5
  static let dirty: UInt64 = 1 << 6
  static let large: UInt64 = 1 << 7
  static let noExecute: UInt64 = 1 << 63
  static let pinned = UInt64(EXO_PTE_PINNED)
  /// The protection key. Without keys these bits are 0.
  static let keyMask = UInt64(EXO_KEYS - 1) << UInt64(EXO_PTE_KEY_SHIFT)
  static let grantedMask =
    UInt64(EXO_PTE_GRANTED_READ) | UInt64(EXO_PTE_GRANTED_WRITE) | UInt64(EXO_PTE_GRANTED_EXECUTE)
  static let addressMask: UInt64 = 0x000f_ffff_ffff_f000
  static let empty = PageTableEntry(bits: 0)

  /// A page of an environment. `rights` is what holds now, `granted` what may be restored.
  init(_ address: PhysicalAddress, rights: Rights, granted: Rights) {
    bits = address.value | Self.user | UInt64(granted.rawValue) << 9 | Self.protection(rights)
  }
  /// A huge page: 512 frames that begin on a 2 MiB boundary, in an entry of the second level.
  init(huge address: PhysicalAddress, rights: Rights, granted: Rights) {
    self.init(address, rights: rights, granted: granted)
    bits |= Self.large
  }
  /// A page of the nucleus: supervisor; writable where the hardware pushes.
  init(nucleus address: PhysicalAddress, executable: Bool, writable: Bool = false) {
    bits =
      address.value | Self.present | (executable ? 0 : Self.noExecute) | (writable ? Self.writable : 0)
  }
  /// A link to a lower table. It restricts nothing but who comes through: `user`, or the supervisor alone.
  init(table: PhysicalAddress, user: Bool) {
    bits = table.value | Self.present | Self.writable | (user ? Self.user : 0)
  }

  /// The hardware bits that give exactly these rights. x86 has no write-only or execute-only page: any right
  /// makes it readable, none makes it absent.
  static func protection(_ rights: Rights) -> UInt64 {
    guard !rights.isEmpty else { return noExecute }
    return present | (rights.contains(.write) ? writable : 0) | (rights.contains(.execute) ? 0 : noExecute)
  }

  var isPresent: Bool { bits & Self.present != 0 }
  /// No translation was ever made of an entry whose A bit is clear: processors, and KVM where it shadows tables, set it first
  /// (Intel SDM 3A 4.10.2.3, "Details of TLB Use"), and nothing here clears it in an entry that stays.
  var wasAccessed: Bool { bits & Self.accessed != 0 }
  /// Bound to a frame, though perhaps with no rights at the moment.
  var isMapped: Bool { bits & Self.grantedMask != 0 || isPresent }
  /// Of a second-level entry: a huge page rather than a link to a table.
  var isHuge: Bool { isMapped && bits & Self.large != 0 }
  /// The entry that one of a huge page's 512 small pages would have.
  func small(_ index: Int) -> PageTableEntry {
    PageTableEntry(bits: (bits & ~Self.large) + UInt64(index) << 12)
  }
  var isPinned: Bool { bits & Self.pinned != 0 }
  var address: PhysicalAddress { PhysicalAddress(bits & Self.addressMask) }
  var granted: Rights { Rights(rawValue: UInt32(truncatingIfNeeded: bits >> 9 & 7)) }
  var rights: Rights {
    guard isPresent else { return [] }
    var rights: Rights = .read
    if bits & Self.writable != 0 { rights.insert(.write) }
    if bits & Self.noExecute == 0 { rights.insert(.execute) }
    return rights
  }
  var key: Int { Int(bits >> UInt64(EXO_PTE_KEY_SHIFT)) & Int(EXO_KEYS - 1) }
  /// The same page with other rights; A, D, the address, the key and the grant stay.
  func with(rights: Rights) -> PageTableEntry {
    let cleared = bits & ~(Self.present | Self.writable | Self.noExecute)
    return PageTableEntry(bits: cleared | Self.protection(rights))
  }
}

extension PhysicalMemory {
  func entry(at address: PhysicalAddress) -> PageTableEntry { PageTableEntry(bits: load(address)) }

  /// Replaces an entry, keeping the A and D bits that the hardware may set meanwhile: a plain store would lose
  /// them. Returns what was there.
  @discardableResult
  func updateEntry(
    at address: PhysicalAddress, _ change: (PageTableEntry) -> PageTableEntry
  ) -> PageTableEntry {
    var seen = load(address)
    while true {
      let outcome = compareExchange(
        address, expected: seen, desired: change(PageTableEntry(bits: seen)).bits)
      if outcome.exchanged { return PageTableEntry(bits: seen) }
      seen = outcome.original
    }
  }
}
