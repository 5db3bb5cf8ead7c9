import ExoABI
import Testing

@testable import Exo

/// The checker finds each thing it is there for. Every test breaks one invariant of a sound kernel.
@Suite struct KernelInvariantsTests {
  static let page: UInt64 = 0x40_0000

  /// Two environments; the first has a page mapped, a shared one, and a bound page-fault handler.
  private func bench() throws -> (KernelBench, EnvironmentID, EnvironmentID, Frame) {
    let bench = try KernelBench()
    let first = try bench.domain()
    let (second, handle) = try bench.child(of: first)
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, 2, by: first)
    try bench.call(EXO_CALL_map, UInt64(memory.result), 0, Self.page, 2, 7, by: first)
    try bench.call(
      EXO_CALL_environment_map, handle.rawValue, UInt64(memory.result), Self.page, 1 << 32, 3, by: first)
    try bench.call(EXO_CALL_exception_bind, 14, Self.page, Self.page + 0x1800, 0, by: first)
    #expect(bench.kernel.checkInvariants() == [])
    return (bench, first, second, Frame(UInt32(memory.values.0)))
  }

  private func expectComplaint(
    _ bench: KernelBench, _ part: String, _ location: Testing.SourceLocation = #_sourceLocation
  ) {
    let wrong = bench.kernel.checkInvariants()
    #expect(wrong.contains { $0.contains(part) }, "\(wrong)", sourceLocation: location)
  }

  static let entryBits: [(UInt64, String)] = [
    (PageTableEntry.user, "a page of the nucleus"),
    (0x100, "bits that no entry has"),
    (0x80, "bits that no entry has"),
    (0x8, "bits that no entry has"),
    (0x10, "bits that no entry has"),
    (0x20_0000_0000_0000, "bits that no entry has"),
    (0x4000_0000_0000_0000, "bits that no entry has"),
    (0x8_0000_0000_0000, "no memory is there"),
    (PageTableEntry.pinned, "pinned for nothing"),
    (UInt64(EXO_PTE_GRANTED_WRITE), "rwx of r-x granted"),
    (PageTableEntry.present, "writable and absent"),
    (0x1000, "listed at"),
  ]
  @Test(arguments: entryBits)
  func seesABitFlippedInAnEntry(_ bit: UInt64, _ complaint: String) throws {
    let (bench, first, _, _) = try bench()
    let slot = try #require(bench.slot(Self.page, of: first))
    bench.kernel.memory.store(bench.kernel.memory.load(slot) ^ bit, slot)
    expectComplaint(bench, complaint)
  }

  @Test func seesAnEntryNobodyListed() throws {
    let (bench, first, _, frame) = try bench()
    let slot = try #require(bench.slot(Self.page + 0x5000, of: first))
    bench.kernel.memory.store(PageTableEntry(frame.address, rights: .read, granted: .read).bits, slot)
    expectComplaint(bench, "listed at")
  }

  @Test func seesAMappingThatIsOnlyListed() throws {
    let (bench, first, _, _) = try bench()
    bench.kernel.memory.store(0, try #require(bench.slot(Self.page, of: first)))
    expectComplaint(bench, "mapped at")
  }

  @Test func seesAMappingWithoutACapability() throws {
    let (bench, _, second, _) = try bench()
    let handle = try #require(bench.kernel.capabilities.entries(of: second).first?.handle)
    _ = try bench.kernel.capabilities.drop(handle, in: second)
    expectComplaint(bench, "no capability to")
  }

  @Test func seesAWritablePageTable() throws {
    let (bench, first, _, _) = try bench()
    let root = try #require(bench.kernel.domains[first]?.shell.space.root)
    let slot = try #require(bench.slot(Self.page + 0x5000, of: first))
    bench.kernel.memory.store(
      PageTableEntry(root.address, rights: [.read, .write], granted: .all).bits, slot)
    expectComplaint(bench, "is pageTable")
  }

  @Test func seesAWritableWindowOnTheTables() throws {
    let (bench, first, _, _) = try bench()
    let root = try #require(bench.kernel.domains[first]?.shell.space.root)
    let slot = PhysicalAddress(root.address.value + UInt64(EXO_KIT_TABLES_SLOT) * 8)
    bench.kernel.memory.store(bench.kernel.memory.load(slot) | PageTableEntry.writable, slot)
    expectComplaint(bench, "not the window on the tables")
  }

  @Test(arguments: [exo_nucleus_text, exo_nucleus_data, exo_nucleus_idt])
  func seesAWritableSupervisorPage(_ address: UInt64) throws {
    let (bench, first, _, _) = try bench()
    let slot = try #require(bench.slot(address, of: first))
    bench.kernel.memory.store(bench.kernel.memory.load(slot) | PageTableEntry.writable, slot)
    expectComplaint(bench, "level 0 at")
  }

  @Test func seesATableLinkedTwice() throws {
    let (bench, first, _, _) = try bench()
    let root = try #require(bench.kernel.domains[first]?.shell.space.root.address.value)
    bench.kernel.memory.store(bench.kernel.memory.load(PhysicalAddress(root)), PhysicalAddress(root + 8))
    expectComplaint(bench, "no link to a table of its own")
  }

  /// Of the low word of #PF's gate: IST, type, privilege, selector, reserved bits.
  static let gateBits: [(UInt64, String)] = [
    (0x1_0000_0000, "is not that of its class"),
    (0x3_0000_0000, "no stack of its own"),
    (0x100_0000_0000, "type 0x8e"),
    (0x8000_0000_0000, "type 0xf"),
    (0x2000_0000_0000, "type 0xaf"),
    (0x23_0000, "selector 0x10"),
    (0x10_0000_0000, "reserved bits"),
  ]
  @Test(arguments: gateBits)
  func seesABitFlippedInAGate(_ bits: UInt64, _ complaint: String) throws {
    let (bench, first, _, _) = try bench()
    let idt = try #require(bench.kernel.domains[first]?.shell.tables.idt.address.value)
    let gate = PhysicalAddress(idt + 14 * 16)
    bench.kernel.memory.store(bench.kernel.memory.load(gate) ^ bits, gate)
    expectComplaint(bench, complaint)
  }

  @Test func seesAHandlerOutsideTheUserHalf() throws {
    let (bench, first, _, _) = try bench()
    let idt = try #require(bench.kernel.domains[first]?.shell.tables.idt.address.value)
    bench.kernel.memory.store(0xffff_8000, PhysicalAddress(idt + 14 * 16 + 8))
    expectComplaint(bench, "handler at 0xffff8000")
  }

  @Test(arguments: [UInt8(2), 8, 18]) func seesANuclearGateTaken(_ vector: UInt8) throws {
    let (bench, first, _, _) = try bench()
    let tables = try #require(bench.kernel.domains[first]?.shell.tables)
    tables.bindDirect(ExceptionVector(vector), handler: GuestAddress(Self.page), in: bench.kernel.memory)
    expectComplaint(bench, "an environment may not bind it")
  }

  @Test func seesAStackAimedElsewhere() throws {
    let (bench, first, _, _) = try bench()
    let tables = try #require(bench.kernel.domains[first]?.shell.tables)
    tables.setStack(slot: Int(EXO_IST_PAGE_FAULT), top: exo_nucleus_idt + 0x100, in: bench.kernel.memory)
    expectComplaint(bench, "the hardware is told")
  }

  @Test func seesAStackThatIsNotPinned() throws {
    let (bench, _, _, frame) = try bench()
    bench.kernel.frames.unpin(frame.advanced(by: 1))
    expectComplaint(bench, "has 0 pins, should have 1")
  }

  @Test func seesASegmentChanged() throws {
    let (bench, first, _, _) = try bench()
    let data = try #require(bench.kernel.domains[first]?.shell.tables.data.address.value)
    bench.kernel.memory.store(0x00cf_fb00_0000_ffff, PhysicalAddress(data + 0x58))
    expectComplaint(bench, "segment 0x58")
  }

  @Test func seesAFreeFrameWithContent() throws {
    let (bench, _, _, _) = try bench()
    let free = try #require((0..<512).map { Frame($0) }.last { bench.kernel.frames.isFree($0) })
    bench.kernel.memory.store(1, PhysicalAddress(free.address.value + 4088))
    expectComplaint(bench, "is free and not zero")
  }

  @Test func seesAFrameWithTwoTypes() throws {
    let (bench, _, _, frame) = try bench()
    bench.kernel.retired.append(frame)
    expectComplaint(bench, "at once")
  }

  @Test func seesWrongCounts() throws {
    let (bench, first, _, _) = try bench()
    bench.kernel.domains[first]?.framesHeld += 1
    expectComplaint(bench, "counted")
    let (other, _, _, _) = try self.bench()
    other.kernel.memory.store(7, PhysicalAddress(other.kernel.machinePage.address.value + 8))
    expectComplaint(other, "7 free frames published")
  }
}
