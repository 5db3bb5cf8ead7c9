import ExoABI
import Testing

@testable import Exo

/// What the model test found, each as small as it gets.
@Suite struct KernelRegressionTests {
  static let page: UInt64 = 0x40_0000

  /// The window's last entries are links between tables, which are writable; the entry above them is not.
  @Test func theExokernelWritesNoTableForAnEnvironment() throws {
    let bench = try KernelBench()
    let id = try bench.domain()
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, 1, by: id)
    try bench.call(EXO_CALL_map, UInt64(memory.result), 0, Self.page, 1, 3, by: id)
    let space = try #require(bench.kernel.domains[id]?.shell.space)
    let window = GuestAddress(exo_kit_tables + Self.page >> 9)
    #expect(space.allows(.read, window, count: 8, memory: bench.kernel.memory))
    #expect(!space.allows(.write, window, count: 8, memory: bench.kernel.memory))
    #expect(!space.allows(.execute, window, count: 8, memory: bench.kernel.memory))
    let before = bench.entry(Self.page, of: id)
    #expect(!space.copyOut([0xff, 0xff, 0xff], to: window, memory: bench.kernel.memory))
    #expect(bench.entry(Self.page, of: id) == before)
    // Nor does it read the nucleus's tables for it.
    let nuclear = GuestAddress(exo_kit_tables + (exo_nucleus_text & 0xffff_ffff_ffff) >> 9)
    #expect(!space.allows(.read, nuclear, count: 8, memory: bench.kernel.memory))
  }

  /// A page that may be written may be read, so a capability that does not let read lets write nothing.
  @Test func aRightToWriteAloneMapsNothing() throws {
    let bench = try KernelBench()
    let id = try bench.domain()
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, 1, by: id)
    let narrow = try bench.call(EXO_CALL_capability_derive, UInt64(memory.result), 0, 1, 6, by: id)
    for rights: UInt64 in [2, 4, 6] {
      #expect(throws: Refusal.notPermitted) {
        try bench.call(EXO_CALL_map, UInt64(narrow.result), 0, Self.page, 1, rights, by: id)
      }
    }
    try bench.call(EXO_CALL_map, UInt64(narrow.result), 0, Self.page, 1, 0, by: id)
    #expect(throws: Refusal.notPermitted) { try bench.call(EXO_CALL_protect, Self.page, 1, 2, by: id) }
    #expect(bench.kernel.checkInvariants() == [])
  }

  @Test func theFreeCountIsPublishedWithANewShell() throws {
    let bench = try KernelBench()
    _ = try bench.child(of: try bench.domain())
    let published = bench.kernel.memory.load(PhysicalAddress(bench.kernel.machinePage.address.value + 8))
    #expect(published == UInt64(bench.kernel.frames.freeCount))
  }
}
