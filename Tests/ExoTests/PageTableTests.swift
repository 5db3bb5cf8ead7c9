import ExoABI
import Testing

@testable import Exo

@Suite struct PageTableTests {
  static let everyRights = (0..<8 as Range<UInt32>).map { Rights(rawValue: $0) }
  private static let address = PhysicalAddress(0x1_2345_6000)
  /// What the hardware, KVM and the exokernel have agreed on; all other bits are to be 0.
  private static let allowed: UInt64 =
    PageTableEntry.present | PageTableEntry.writable | PageTableEntry.user | PageTableEntry.accessed
    | PageTableEntry.dirty | PageTableEntry.grantedMask | PageTableEntry.addressMask | PageTableEntry.pinned
    | PageTableEntry.noExecute

  /// What x86 makes of rights: any of them lets the page be read.
  private static func effective(_ rights: Rights) -> Rights {
    rights.isEmpty ? [] : rights.union(.read)
  }

  @Test func rightsAndGrantComeBack() {
    for rights in Self.everyRights {
      for granted in Self.everyRights {
        let entry = PageTableEntry(Self.address, rights: rights, granted: granted)
        #expect(entry.rights == Self.effective(rights))
        #expect(entry.granted == granted)
        #expect(entry.address == Self.address)
        #expect(entry.isPresent == !rights.isEmpty)
        #expect(entry.isMapped == (!rights.isEmpty || !granted.isEmpty))
        #expect(!entry.isPinned)
        #expect(entry.bits & ~Self.allowed == 0)
        #expect(entry.bits & PageTableEntry.user != 0)
      }
    }
  }

  @Test func hardwareBitsAreTheManuals() {
    func bits(_ rights: Rights) -> UInt64 {
      PageTableEntry(PhysicalAddress(0), rights: rights, granted: []).bits
    }
    let noExecute: UInt64 = 1 << 63
    #expect(bits([]) == noExecute | 4)
    #expect(bits(.read) == noExecute | 5)
    #expect(bits([.read, .write]) == noExecute | 7)
    #expect(bits([.read, .execute]) == 5)
    #expect(bits(.all) == 7)
  }

  /// Lowering and restoring keeps the address, the grant, the marks and what the hardware noted.
  @Test func changingRightsKeepsTheRest() {
    let notes = PageTableEntry.accessed | PageTableEntry.dirty | PageTableEntry.pinned
    for from in Self.everyRights {
      for to in Self.everyRights {
        for granted in Self.everyRights {
          var entry = PageTableEntry(Self.address, rights: from, granted: granted)
          entry.bits |= notes
          let changed = entry.with(rights: to)
          #expect(changed.rights == Self.effective(to))
          #expect(changed.granted == granted && changed.address == Self.address && changed.isPinned)
          #expect(changed.bits & notes == notes)
          #expect(changed.bits & ~Self.allowed == 0)
          #expect(changed.with(rights: from) == entry)
        }
      }
    }
  }

  @Test func nucleusPagesAreSupervisorAndReadOnly() {
    for executable in [false, true] {
      let entry = PageTableEntry(nucleus: Self.address, executable: executable)
      #expect(entry.isPresent && entry.address == Self.address)
      #expect(entry.bits & (PageTableEntry.user | PageTableEntry.writable) == 0)
      #expect(entry.bits & PageTableEntry.noExecute == 0 ? executable : !executable)
      #expect(entry.granted.isEmpty)
    }
  }

  /// A huge page's entry differs in one bit, and each of its small pages is what it would be by itself.
  @Test func hugePages() {
    let base = PhysicalAddress(0x1_4000_0000)
    for rights in Self.everyRights {
      for granted in Self.everyRights {
        let huge = PageTableEntry(huge: base, rights: rights, granted: granted)
        let small = PageTableEntry(base, rights: rights, granted: granted)
        #expect(huge.bits == small.bits | PageTableEntry.large)
        #expect(huge.isHuge == huge.isMapped && !small.isHuge)
        for index in [0, 1, 511] {
          let page = PhysicalAddress(base.value + UInt64(index) << 12)
          #expect(huge.small(index) == PageTableEntry(page, rights: rights, granted: granted))
        }
        for other in Self.everyRights {
          #expect(huge.with(rights: other) == PageTableEntry(huge: base, rights: other, granted: granted))
        }
      }
    }
    #expect(!PageTableEntry(table: base, user: true).isHuge && !PageTableEntry.empty.isHuge)
  }

  @Test func linksRestrictWhoComesThrough() {
    let user = PageTableEntry(table: Self.address, user: true)
    #expect(user.bits == Self.address.value | 7)
    let nucleus = PageTableEntry(table: Self.address, user: false)
    #expect(nucleus.bits == Self.address.value | 3)
  }

  @Test func emptyIsNothing() {
    #expect(!PageTableEntry.empty.isMapped && !PageTableEntry.empty.isPresent)
    #expect(PageTableEntry.empty.rights.isEmpty)
  }

  /// An update takes notice of bits that appear between its look and its store.
  @Test func updateKeepsWhatTheHardwareSetMeanwhile() throws {
    let memory = try PhysicalMemory(size: 1 << 20)
    let slot = Frame(1).address
    memory.store(PageTableEntry(Self.address, rights: .all, granted: .all).bits, slot)
    var rounds = 0
    let before = memory.updateEntry(at: slot) { entry in
      if rounds == 0 {
        // The hardware sets D after the look.
        memory.store(entry.bits | PageTableEntry.dirty, slot)
      }
      rounds += 1
      return entry.with(rights: .read)
    }
    #expect(rounds == 2)
    #expect(before.bits & PageTableEntry.dirty != 0)
    let after = memory.entry(at: slot)
    #expect(after.bits & PageTableEntry.dirty != 0)
    #expect(after.rights == .read && after.granted == .all)
  }
}
