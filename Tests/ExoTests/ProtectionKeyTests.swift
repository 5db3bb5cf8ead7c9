import ExoABI
import Testing

@testable import Exo

/// Protection keys in page-table entries, and what is switched when there are any.
@Suite struct ProtectionKeyTests {
  /// The fourth page is the first of another table.
  private static let page: UInt64 = 0x5f_d000
  private static let count: UInt64 = 6

  private func bench(_ keys: ProtectionKeys = .off) throws -> (KernelBench, EnvironmentID) {
    let bench = try KernelBench(frames: 2048)
    bench.kernel.keys = keys
    let id = try bench.domain(frames: 1200)
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, Self.count, by: id)
    try bench.call(EXO_CALL_map, UInt64(memory.result), 0, Self.page, Self.count, 3, by: id)
    return (bench, id)
  }
  private func entries(_ bench: KernelBench, _ id: EnvironmentID) -> [PageTableEntry] {
    (0..<Self.count).map { bench.entry(Self.page + $0 << 12, of: id) }
  }

  @Test func withoutKeysItIsRefusedAndNothingChanges() throws {
    let (bench, id) = try bench(.absent)
    let before = entries(bench, id)
    #expect(throws: Refusal.unsupported) {
      try bench.call(EXO_CALL_key_set, Self.page, Self.count, 1, by: id)
    }
    #expect(Refusal.unsupported.code == EXO_EOPNOTSUPP)
    #expect(entries(bench, id) == before && bench.kernel.keys == .absent)
    // An entry that has one all the same is found.
    let slot = try #require(bench.slot(Self.page, of: id))
    bench.kernel.memory.updateEntry(at: slot) { PageTableEntry(bits: $0.bits | 1 << 59) }
    #expect(bench.kernel.checkInvariants().contains { $0.contains("bits that no entry has") })
  }

  @Test func theRangeAndNothingElseGetsTheKey() throws {
    let (bench, id) = try bench()
    let before = entries(bench, id)
    for key in [15, 1, 10] {
      try bench.call(EXO_CALL_key_set, Self.page + 0x1000, 4, UInt64(key), by: id)
      for (index, entry) in entries(bench, id).enumerated() {
        #expect(entry.key == ((1...4).contains(index) ? key : 0))
        #expect(entry.bits & ~PageTableEntry.keyMask == before[index].bits)
      }
      #expect(bench.kernel.checkInvariants() == [])
    }
    try bench.call(EXO_CALL_key_set, Self.page, Self.count, 0, by: id)
    #expect(entries(bench, id) == before)
  }

  @Test func protectionLeavesItAlone() throws {
    let (bench, id) = try bench()
    try bench.call(EXO_CALL_key_set, Self.page, Self.count, 9, by: id)
    let before = entries(bench, id)
    for rights: UInt64 in [1, 0, 3] {
      try bench.call(EXO_CALL_protect, Self.page, Self.count, rights, by: id)
      #expect(entries(bench, id).allSatisfy { $0.key == 9 && $0.rights.rawValue == UInt32(rights) })
    }
    #expect(entries(bench, id) == before)
    // A page without rights may have one too, and a pinned one.
    try bench.call(EXO_CALL_protect, Self.page, 1, 0, by: id)
    try bench.call(EXO_CALL_guarantee, Self.page + 0x1000, 1, 1, by: id)
    try bench.call(EXO_CALL_key_set, Self.page, 2, 3, by: id)
    #expect(entries(bench, id).prefix(2).allSatisfy { $0.key == 3 })
    #expect(bench.kernel.checkInvariants() == [])
    try bench.call(EXO_CALL_guarantee, Self.page + 0x1000, 1, 0, by: id)
    try bench.call(EXO_CALL_unmap, Self.page, Self.count, by: id)
    #expect(entries(bench, id).allSatisfy { $0 == .empty })
  }

  @Test func aRefusalChangesNothing() throws {
    let (bench, id) = try bench()
    let before = entries(bench, id)
    for (address, pages) in [(Self.page, Self.count + 1), (Self.page - 0x1000, 2), (0x70_0000_0000, 1)] {
      #expect(throws: Refusal.absent) { try bench.call(EXO_CALL_key_set, address, pages, 1, by: id) }
    }
    #expect(throws: Refusal.invalid) { try bench.call(EXO_CALL_key_set, Self.page, 1, 16, by: id) }
    #expect(throws: Refusal.invalid) { try bench.call(EXO_CALL_key_set, exo_kit_trap, 1, 1, by: id) }
    #expect(entries(bench, id) == before && bench.kernel.keys == .off)
  }

  @Test func aHugePageHasOneKey() throws {
    let (bench, id) = try bench()
    let place: UInt64 = 0x4000_0000
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, 512, 512, by: id)
    try bench.call(
      EXO_CALL_map, UInt64(memory.result), 0, place, 512, 3 | UInt64(EXO_MAP_HUGE), by: id)
    #expect(throws: Refusal.invalid) { try bench.call(EXO_CALL_key_set, place, 511, 4, by: id) }
    #expect(throws: Refusal.invalid) { try bench.call(EXO_CALL_key_set, place + 0x1000, 1, 4, by: id) }
    try bench.call(EXO_CALL_key_set, place, 512, 4, by: id)
    #expect(bench.entry(place + 0x7000, of: id).key == 4)
    #expect(bench.kernel.checkInvariants() == [])
    try bench.call(EXO_CALL_protect, place, 512, 1, by: id)
    #expect(bench.entry(place, of: id).key == 4 && bench.entry(place, of: id).rights == .read)
  }

  /// The first key has everybody's transfers make PKRU 0, and those of whoever comes later.
  @Test func transfersAreSwitchedForAll() throws {
    let (bench, id) = try bench()
    let other = try bench.domain()
    func target(_ id: EnvironmentID) throws -> UInt64 {
      let tables = try #require(bench.kernel.domains[id]?.shell.tables)
      let low = bench.kernel.memory.load(PhysicalAddress(tables.idt.address.value + 4 * 16))
      return (low & 0xffff | low >> 32 & 0xffff_0000) &- (exo_nucleus_text & 0xffff_ffff)
    }
    try bench.executable(at: 0x40_0000, in: other)
    try bench.call(EXO_CALL_transfer_bind, 0x40_0000, by: other)
    #expect(try target(other) == UInt64(EXO_NUCLEUS_TRANSFER_STUB))
    try bench.call(EXO_CALL_key_set, Self.page, 1, 0, by: id)
    #expect(bench.kernel.keys == .on)
    #expect(try target(other) == UInt64(EXO_NUCLEUS_TRANSFER_KEYS_STUB))
    #expect(try target(id) == UInt64(4 * EXO_NUCLEUS_STUB_SIZE))
    #expect(bench.kernel.checkInvariants() == [])
    let later = try bench.domain()
    try bench.executable(at: 0x40_0000, in: later)
    try bench.call(EXO_CALL_transfer_bind, 0x40_0000, by: later)
    #expect(try target(later) == UInt64(EXO_NUCLEUS_TRANSFER_KEYS_STUB))
    #expect(bench.kernel.checkInvariants() == [])
    // The shorter way would carry PKRU along.
    let tables = try #require(bench.kernel.domains[later]?.shell.tables)
    tables.bindTransfer(.selecting, in: bench.kernel.memory)
    #expect(!bench.kernel.checkInvariants().isEmpty)
  }

  @Test func aFaultSaysThatItWasTheKey() {
    var report = FaultReport(
      vector: ExceptionVector(14), general: .init(), system: .init(), trap: Frame(0), stackTop: 2048,
      space: AddressSpace(root: Frame(0)), memory: memory)
    #expect(report.accessDescription == "read, nothing mapped")
    memory.store(0x27, PhysicalAddress(Frame(0).address.value + 2048 - 48))
    report = FaultReport(
      vector: ExceptionVector(14), general: .init(), system: .init(), trap: Frame(0), stackTop: 2048,
      space: AddressSpace(root: Frame(0)), memory: memory)
    #expect(report.accessDescription == "write, forbidden by a protection key")
  }
  private let memory: PhysicalMemory
  init() throws { memory = try PhysicalMemory(size: 1 << 20) }
}
