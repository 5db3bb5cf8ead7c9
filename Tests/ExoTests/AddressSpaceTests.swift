import ExoABI
import Testing

@testable import Exo

/// Page tables in a few MiB of memory, without KVM.
@Suite struct AddressSpaceTests {
  /// Memory, frames and one address space in it.
  final class Fixture {
    let memory: PhysicalMemory
    var frames: FrameTable
    var space: AddressSpace

    init(bytes: UInt64 = 4 << 20) throws {
      memory = try PhysicalMemory(size: bytes)
      frames = FrameTable(count: memory.frameCount)
      let root = frames.allocate(upTo: 1, kind: .pageTable, owner: EnvironmentID(1))
      space = AddressSpace(root: try #require(root).first)
    }

    func newFrame() -> Frame? {
      frames.allocate(upTo: 1, kind: .data, owner: EnvironmentID(1))?.first
    }
    func makeSlot(_ address: UInt64, level: Int = 0) -> PhysicalAddress? {
      var frames = frames
      let slot = space.makeSlot(of: GuestAddress(address), level: level, in: memory) {
        frames.allocate(upTo: 1, kind: .pageTable, owner: EnvironmentID(1))?.first
      }
      self.frames = frames
      return slot
    }
    /// A new frame at a page.
    func map(_ address: UInt64, _ rights: Rights, granted: Rights? = nil) throws -> Frame {
      let frame = try #require(newFrame())
      let slot = try #require(makeSlot(address))
      memory.store(
        PageTableEntry(frame.address, rights: rights, granted: granted ?? rights).bits, slot)
      return frame
    }
  }

  static let corners: [UInt64] = [
    0x10000, 0x40_0000, 0x40_1000, 0x1f_f000, 0x20_0000, 0x3fff_f000, 0x4000_0000, 0x7f_ffff_f000,
    0x80_0000_0000, exo_stack_top - 4096, exo_kit_start - 4096, exo_kit_start, 0x7fff_ffff_e000,
  ]

  @Test func slotsOfDistinctPagesAreDistinct() throws {
    let fixture = try Fixture()
    var slots: Set<PhysicalAddress> = []
    for address in Self.corners {
      #expect(fixture.space.slot(of: GuestAddress(address), in: fixture.memory) == nil || !slots.isEmpty)
      let slot = try #require(fixture.makeSlot(address))
      #expect(slot.value & 7 == 0 && fixture.memory.contains(slot, count: 8))
      #expect(slots.insert(slot).inserted)
      #expect(fixture.space.slot(of: GuestAddress(address), in: fixture.memory) == slot)
      #expect(fixture.makeSlot(address) == slot)
      // The slot's place in its table is the address's.
      #expect(slot.value & 0xfff == (address >> 12 & 511) * 8)
      #expect(fixture.space.entry(of: GuestAddress(address), in: fixture.memory) == .empty)
    }
    #expect(Set(fixture.space.tables).count == fixture.space.tables.count)
    #expect(fixture.space.tables.allSatisfy { fixture.frames.kind(of: $0) == .pageTable })
  }

  @Test func neighboursShareTables() throws {
    let fixture = try Fixture()
    _ = fixture.makeSlot(0x40_0000)
    #expect(fixture.space.tables.count == 4)
    for page in 1..<512 as Range<UInt64> { _ = fixture.makeSlot(0x40_0000 + page << 12) }
    #expect(fixture.space.tables.count == 4)
    _ = fixture.makeSlot(0x60_0000)
    #expect(fixture.space.tables.count == 5)
  }

  /// The user's tables carry U and W, the nucleus's W alone: who comes through is decided there, what may be written by the leaf.
  @Test func linksOfTheTwoHalves() throws {
    let fixture = try Fixture()
    _ = fixture.makeSlot(0x40_0000)
    _ = fixture.makeSlot(exo_nucleus_text)
    let root = fixture.space.root.address.value
    let user = fixture.memory.entry(at: PhysicalAddress(root))
    #expect(user.bits & 7 == 7)
    let nucleus = fixture.memory.entry(at: PhysicalAddress(root + 511 * 8))
    #expect(nucleus.bits & 7 == 3)
  }

  @Test func runningOutOfTables() throws {
    for missing in 0..<3 {
      let fixture = try Fixture()
      let memory = fixture.memory
      var given: [Frame] = []
      var frames = fixture.frames
      let slot = fixture.space.makeSlot(of: GuestAddress(0x40_0000), in: memory) {
        guard given.count < missing else { return nil }
        let frame = frames.allocate(upTo: 1, kind: .pageTable, owner: EnvironmentID(1))?.first
        if let frame { given.append(frame) }
        return frame
      }
      #expect(slot == nil)
      // What was made stays linked and known, or it would be lost.
      #expect(Array(fixture.space.tables.dropFirst()) == given)
      #expect(fixture.space.slot(of: GuestAddress(0x40_0000), in: memory) == nil)
    }
  }

  @Test func userRange() {
    func isUser(_ address: UInt64, _ pages: Int) -> Bool {
      AddressSpace.isUserRange(GuestAddress(address), pages: pages)
    }
    let limit = UInt64(EXO_USER_LIMIT)
    let floor = UInt64(EXO_USER_FLOOR)
    #expect(isUser(floor, 1) && isUser(limit - 4096, 1))
    #expect(isUser(floor, Int((exo_kit_tables - floor) >> 12)))
    #expect(isUser(exo_kit_tables_end, Int((limit - exo_kit_tables_end) >> 12)))
    // All of it would take in the window on the tables.
    #expect(!isUser(floor, Int((limit - floor) >> 12)))
    #expect(!isUser(floor - 4096, 1) && !isUser(0, 1))
    #expect(!isUser(limit, 1) && !isUser(limit - 4096, 2))
    #expect(!isUser(floor, Int((limit - floor) >> 12) + 1))
    #expect(!isUser(floor + 1, 1) && !isUser(floor, 0) && !isUser(floor, -1))
    #expect(!isUser(exo_nucleus_base, 1) && !isUser(0xffff_ffff_ffff_f000, 1))
    for pages in [Int.max, 1 << 52, 1 << 51, 1 << 36, Int.min] {
      #expect(!isUser(floor, pages) && !isUser(0xffff_ffff_ffff_f000, pages))
    }
  }

  /// One entry of the second level stands for 512 pages, to all who ask about one of them.
  @Test func hugePage() throws {
    let fixture = try Fixture(bytes: 8 << 20)
    let memory = fixture.memory
    fixture.space.exposeTables(in: memory)
    let base: UInt64 = 0x60_0000
    let first = Frame(1024)
    let slot = try #require(fixture.makeSlot(base, level: 1))
    memory.store(PageTableEntry(huge: first.address, rights: [.read, .write], granted: .all).bits, slot)
    for page in [0, 1, 300, 511] as [UInt64] {
      let address = GuestAddress(base + page << 12)
      let entry = fixture.space.entry(of: address, in: memory)
      #expect(entry.address == first.advanced(by: Int(page)).address)
      #expect(entry.rights == [.read, .write] && entry.granted == .all && !entry.isHuge)
      #expect(fixture.space.slot(of: address, in: memory) == nil)
      let location = try #require(fixture.space.location(of: address, in: memory))
      #expect(location.slot == slot && location.isHuge)
    }
    // Nothing smaller is made within it.
    #expect(fixture.makeSlot(base + 0x5000) == nil)
    let across = GuestAddress(base + 0x1_0ffe)
    #expect(fixture.space.copyOut([1, 2, 3, 4], to: across, memory: memory))
    var bytes: [UInt8] = []
    #expect(fixture.space.copyIn(across, count: 4, memory: memory, to: &bytes))
    #expect(bytes == [1, 2, 3, 4])
    #expect(memory.load32(PhysicalAddress(first.address.value + 0x1_1000)) & 0xffff == 0x0403)
    #expect(!fixture.space.allows(.read, GuestAddress(base + 0x1f_ffff), count: 2, memory: memory))
    #expect(!fixture.space.allows(.read, GuestAddress(base - 1), count: 2, memory: memory))
    var found: [GuestAddress] = []
    fixture.space.forEachMappedPage(in: memory) { address, _, at in
      found.append(address)
      #expect(at == slot)
    }
    #expect(found == (0..<512).map { GuestAddress(base + UInt64($0) << 12) })
    // Through the window the entry looks like a page of its own: to be read only.
    let window = GuestAddress(exo_kit_tables + (base >> 12) * 8)
    #expect(!fixture.space.allows(.write, window, count: 8, memory: memory))
  }

  // --- copying

  @Test func copyAcrossPages() throws {
    let fixture = try Fixture()
    let base: UInt64 = 0x1f_f000  // the third page is in another table
    for page in 0..<3 as Range<UInt64> { _ = try fixture.map(base + page << 12, [.read, .write]) }
    let address = GuestAddress(base + 4000)
    let bytes = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    #expect(fixture.space.copyOut(bytes[...], to: address, memory: fixture.memory))
    var back: [UInt8] = [1, 2]
    #expect(fixture.space.copyIn(address, count: 5000, memory: fixture.memory, to: &back))
    #expect(back == [1, 2] + bytes)
    // A slice keeps its own indices.
    #expect(fixture.space.copyOut(bytes[100..<4500], to: address, memory: fixture.memory))
    back = []
    #expect(fixture.space.copyIn(address, count: 4400, memory: fixture.memory, to: &back))
    #expect(back == Array(bytes[100..<4500]))
  }

  @Test func nothingIsCopiedInPastAnAbsentPage() throws {
    let fixture = try Fixture()
    _ = try fixture.map(0x40_0000, .read)
    var bytes: [UInt8] = [9]
    #expect(!fixture.space.copyIn(GuestAddress(0x40_0ff0), count: 17, memory: fixture.memory, to: &bytes))
    #expect(bytes == [9])
    #expect(fixture.space.copyIn(GuestAddress(0x40_0ff0), count: 16, memory: fixture.memory, to: &bytes))
    #expect(bytes.count == 17)
  }

  /// Copying asks for the rights that hold now, not for those once granted.
  @Test func rightsOfTheMoment() throws {
    let fixture = try Fixture()
    let memory = fixture.memory
    _ = try fixture.map(0x40_0000, .read, granted: .all)
    _ = try fixture.map(0x40_1000, [], granted: .all)
    _ = try fixture.map(0x40_2000, [.read, .write], granted: [])
    func canRead(_ address: UInt64) -> Bool {
      var bytes: [UInt8] = []
      return fixture.space.copyIn(GuestAddress(address), count: 1, memory: memory, to: &bytes)
    }
    func canWrite(_ address: UInt64) -> Bool {
      fixture.space.copyOut([1], to: GuestAddress(address), memory: memory)
    }
    #expect(canRead(0x40_0000) && !canWrite(0x40_0000))
    #expect(!canRead(0x40_1000) && !canWrite(0x40_1000))
    #expect(canRead(0x40_2000) && canWrite(0x40_2000))
    #expect(fixture.space.allows(.read, GuestAddress(0x40_0000), count: 4096, memory: memory))
    #expect(!fixture.space.allows(.execute, GuestAddress(0x40_0000), count: 1, memory: memory))
    #expect(!fixture.space.allows([.read, .write], GuestAddress(0x40_0000), count: 1, memory: memory))
    #expect(!fixture.space.allows(.read, GuestAddress(0x40_0fff), count: 2, memory: memory))
  }

  @Test func limits() throws {
    let fixture = try Fixture()
    let memory = fixture.memory
    let last = UInt64(EXO_USER_LIMIT) - 4096
    _ = try fixture.map(last, [.read, .write])
    func allows(_ address: UInt64, _ count: Int) -> Bool {
      fixture.space.allows(.read, GuestAddress(address), count: count, memory: memory)
    }
    #expect(allows(last, 4096) && !allows(last, 4097) && allows(last + 4095, 1) && !allows(last + 4095, 2))
    for address in [UInt64(EXO_USER_LIMIT), exo_nucleus_base, .max, .max - 4095, 1 << 63] {
      for count in [0, 1, 4096, Int.max] { #expect(!allows(address, count)) }
    }
    for count in [-1, Int.min, Int.max, 1 << 47, 1 << 48] { #expect(!allows(last, count)) }
    #expect(allows(0, 0) && allows(last, 0))
  }

  /// The nucleus's pages are the processor's business: an environment cannot have the exokernel read them for it.
  @Test func supervisorPagesAreOutOfReach() throws {
    let memory = try PhysicalMemory(size: 4 << 20)
    var kernel = try Kernel(memory: memory)
    let shell = try kernel.takeShell()
    var bytes: [UInt8] = []
    for address in [exo_nucleus_text, exo_nucleus_data, exo_nucleus_idt] {
      #expect(!shell.space.copyIn(GuestAddress(address), count: 1, memory: memory, to: &bytes))
    }
    #expect(bytes.isEmpty)
  }

  /// The doorbell is mapped readable and writable, and is no memory.
  @Test func doorbellIsNoMemory() throws {
    let memory = try PhysicalMemory(size: 4 << 20)
    var kernel = try Kernel(memory: memory)
    let shell = try kernel.takeShell()
    let doorbell = GuestAddress(exo_kit_doorbell)
    #expect(shell.space.entry(of: doorbell, in: memory).rights == [.read, .write])
    var bytes: [UInt8] = []
    for count in [1, 4, 4096] {
      #expect(!shell.space.copyIn(doorbell, count: count, memory: memory, to: &bytes))
      #expect(
        !shell.space.copyOut([UInt8](repeating: 0, count: count)[...], to: doorbell, memory: memory))
    }
    // Nor is what lies on both sides of the trap page's end.
    let across = GuestAddress(exo_kit_doorbell - 8)
    #expect(!shell.space.copyIn(across, count: 16, memory: memory, to: &bytes))
    #expect(bytes.isEmpty)
  }

  /// The window on the tables is there to be read. A walk through it ends in a link, which says "writable": whoever took
  /// that for the page's rights would let an environment have its page table overwritten.
  @Test func tablesWindowIsReadOnly() throws {
    let fixture = try Fixture()
    let memory = fixture.memory
    fixture.space.exposeTables(in: memory)
    let frame = try fixture.map(0x40_0000, [.read, .write])
    let leaf = GuestAddress(exo_kit_tables + (0x40_0000 >> 12) * 8)
    let levels = [
      leaf, GuestAddress(UInt64(EXO_KIT_TABLES_LEVEL1)), GuestAddress(UInt64(EXO_KIT_TABLES_LEVEL2)),
      GuestAddress(UInt64(EXO_KIT_TABLES_LEVEL3)),
    ]
    for address in levels {
      #expect(fixture.space.allows(.read, address, count: 8, memory: memory))
      #expect(!fixture.space.allows(.write, address, count: 8, memory: memory))
      #expect(!fixture.space.allows(.execute, address, count: 8, memory: memory))
      #expect(!fixture.space.copyOut([0xff], to: address, memory: memory))
    }
    var bytes: [UInt8] = []
    #expect(fixture.space.copyIn(leaf, count: 8, memory: memory, to: &bytes))
    let word = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    #expect(word == PageTableEntry(frame.address, rights: [.read, .write], granted: [.read, .write]).bits)
    #expect(!AddressSpace.isUserRange(GuestAddress(exo_kit_tables), pages: 1))
    #expect(!AddressSpace.isUserRange(GuestAddress(exo_kit_tables - 4096), pages: 2))
    #expect(AddressSpace.isUserRange(GuestAddress(exo_kit_tables - 4096), pages: 1))
    #expect(AddressSpace.isUserRange(GuestAddress(exo_kit_tables_end), pages: 1))
  }

  /// An image that wants to lie in the window would write its own page table.
  @Test func noImageLiesInTheTablesWindow() {
    for address in [exo_kit_tables, UInt64(EXO_KIT_TABLES_LEVEL3), exo_kit_tables_end - 4096] {
      var builder = ImageBuilder()
      builder.headers[2].address = address | 0x380
      #expect(throws: ImageError.self) { try GuestImage(name: "window", bytes: builder.bytes) }
    }
    #expect(GuestImage.allowed.upperBound <= exo_kit_tables)
  }

  /// No page of an environment can be bound there, whoever asks.
  @Test func nothingIsMappedInTheTablesWindow() throws {
    var kernel = try Kernel(memory: PhysicalMemory(size: 4 << 20))
    let id = EnvironmentID(1)
    let shell = try kernel.takeShell()
    kernel.domains[id] = Domain(id: id, shell: shell, latch: ExecutionLatch())
    try kernel.capabilities.open(
      id, limit: Quota(frames: 64, capabilities: 8, bindings: 8, environments: 0, ringWork: 64))
    for address in [exo_kit_tables, UInt64(EXO_KIT_TABLES_LEVEL3) + 8, exo_kit_tables_end - 4096] {
      do {
        try kernel.mapPage(
          Frame(100), at: GuestAddress(address & ~0xfff), rights: .all, granted: .all, in: id)
        Issue.record("mapped at \(hexadecimal(address))")
      } catch { #expect(error == .invalid) }
    }
  }

  @Test func mappedPagesInOrder() throws {
    let fixture = try Fixture()
    var expected: [GuestAddress] = []
    for address in Self.corners.sorted() {
      _ = try fixture.map(address, .read)
      expected.append(GuestAddress(address))
    }
    // Bound, though with no rights at the moment; and a slot that is empty.
    _ = try fixture.map(0x50_0000, [], granted: .read)
    expected.append(GuestAddress(0x50_0000))
    _ = fixture.makeSlot(0x51_0000)
    // The upper half is the nucleus's.
    _ = try fixture.map(exo_nucleus_text, .read)
    var found: [GuestAddress] = []
    fixture.space.forEachMappedPage(in: fixture.memory) { address, entry, slot in
      found.append(address)
      #expect(fixture.memory.entry(at: slot) == entry && entry.isMapped)
      #expect(fixture.space.slot(of: address, in: fixture.memory) == slot)
    }
    #expect(found == expected.sorted())
  }

  // --- at random

  /// Random pages with random rights, and random copies, against a dictionary of bytes.
  @Test(arguments: [1, 2, 3] as [UInt64]) func randomCopies(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let fixture = try Fixture()
    let memory = fixture.memory
    let base: UInt64 = 0x40_0000 - 4 * 4096
    var rights: [UInt64: Rights] = [:]
    for page in 0..<8 as Range<UInt64> where UInt32.random(in: 0..<8, using: &random) != 0 {
      let chosen = PageTableTests.everyRights.randomElement(using: &random)!
      _ = try fixture.map(base + page << 12, chosen)
      rights[page] = chosen.isEmpty ? [] : chosen.union(.read)
    }
    var model = [UInt8](repeating: 0, count: 8 << 12)
    for _ in 0..<700 {
      let start = Int.random(in: 0..<8 << 12, using: &random)
      let count = min(Int.random(in: 0...9000, using: &random), 8 << 12 - start)
      let pages = count == 0 ? 0..<0 : UInt64(start >> 12)..<UInt64((start + count - 1) >> 12) + 1
      let address = GuestAddress(base + UInt64(start))
      if Bool.random(using: &random) {
        let bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        let allowed = pages.allSatisfy { rights[$0]?.contains(.write) ?? false }
        #expect(fixture.space.copyOut(bytes[...], to: address, memory: memory) == allowed)
        // What was written before the page that refused stays written.
        for (i, byte) in bytes.enumerated() {
          guard rights[UInt64((start + i) >> 12)]?.contains(.write) ?? false else { break }
          model[start + i] = byte
        }
      } else {
        let allowed = pages.allSatisfy { rights[$0]?.contains(.read) ?? false }
        var bytes: [UInt8] = []
        #expect(fixture.space.copyIn(address, count: count, memory: memory, to: &bytes) == allowed)
        #expect(bytes == (allowed ? Array(model[start..<start + count]) : []))
      }
    }
  }
}
