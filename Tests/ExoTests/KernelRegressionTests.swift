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

  /// Asking again for what is guaranteed costs nothing and is undone by one request.
  @Test func aGuaranteeIsGivenOnce() throws {
    let bench = try KernelBench()
    let id = try bench.domain()
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, 2, by: id)
    try bench.call(EXO_CALL_map, UInt64(memory.result), 0, Self.page, 2, 3, by: id)
    try bench.call(EXO_CALL_guarantee, Self.page, 1, 1, by: id)
    try bench.call(EXO_CALL_guarantee, Self.page, 2, 1, by: id)
    #expect(bench.kernel.checkInvariants() == [])
    try bench.call(EXO_CALL_guarantee, Self.page, 2, 0, by: id)
    try bench.call(EXO_CALL_unmap, Self.page, 2, by: id)
    try bench.call(EXO_CALL_frame_free, UInt64(memory.result), by: id)
    #expect(bench.kernel.checkInvariants() == [])
  }

  /// A part of a huge page cannot be pinned, so neither can a stack lie there.
  @Test func nothingInAHugePageIsGuaranteed() throws {
    let bench = try KernelBench(frames: 1536)
    let id = try bench.domain(frames: 800)
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, 512, 512, by: id)
    try bench.call(EXO_CALL_map, UInt64(memory.result), 0, Self.page, 512, 7 | UInt64(EXO_MAP_HUGE), by: id)
    #expect(throws: Refusal.invalid) { try bench.call(EXO_CALL_guarantee, Self.page, 1, 1, by: id) }
    #expect(throws: Refusal.invalid) {
      try bench.call(EXO_CALL_exception_bind, 14, Self.page, Self.page + 0x1800, 0, by: id)
    }
    #expect(bench.kernel.checkInvariants() == [])
  }

  /// What has been freed and not yet cleaned is there for page tables and new environments too.
  @Test func retiredFramesAreNotMissed() throws {
    let bench = try KernelBench(frames: 256)
    let id = try bench.domain(frames: 250)
    let kept = try bench.call(EXO_CALL_frame_allocate, .max, 1, by: id)
    let rest = try bench.call(EXO_CALL_frame_allocate, .max, 250, by: id)
    #expect(bench.kernel.frames.freeCount < 32)
    let last = try? bench.call(EXO_CALL_frame_allocate, .max, 32, by: id)
    try bench.call(EXO_CALL_frame_free, UInt64(rest.result), by: id)
    if let last { try bench.call(EXO_CALL_frame_free, UInt64(last.result), by: id) }
    #expect(bench.kernel.frames.freeCount < 32)
    try bench.call(EXO_CALL_map, UInt64(kept.result), 0, 0x80_0000_0000, 1, 3, by: id)
    _ = try bench.child(of: id)
    #expect(bench.kernel.checkInvariants() == [])
  }

  /// One vector works on no more pages than one call may.
  @Test func aVectorHoldsTheLockNoLongerThanACall() throws {
    let bench = try KernelBench()
    let id = try bench.domain()
    let memory = try bench.call(EXO_CALL_frame_allocate, .max, 1, by: id)
    try bench.call(EXO_CALL_map, UInt64(memory.result), 0, Self.page, 1, 3, by: id)
    for entry in 0..<2 {
      let at = bench.entry(Self.page, of: id).address.value + UInt64(entry) * 32
      bench.kernel.memory.store(0x1_0000_0000, PhysicalAddress(at))
      bench.kernel.memory.store(UInt64(Exocall.pageLimit / 2 + 1), PhysicalAddress(at + 8))
    }
    let completion = try bench.call(
      EXO_CALL_page_vector, UInt64(EXO_VECTOR_UNMAP), Self.page, 2, by: id)
    #expect(completion.result == -Int64(EXO_EINVAL))
    #expect(completion.values.0 == 1)
  }

  @Test func theFreeCountIsPublishedWithANewShell() throws {
    let bench = try KernelBench()
    _ = try bench.child(of: try bench.domain())
    let published = bench.kernel.memory.load(PhysicalAddress(bench.kernel.machinePage.address.value + 8))
    #expect(published == UInt64(bench.kernel.frames.freeCount))
  }
}
