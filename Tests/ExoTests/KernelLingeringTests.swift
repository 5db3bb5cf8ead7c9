import CKVM
import ExoABI
import Synchronization
import Testing

@testable import Exo

/// A frame has no next owner, and a capability is not gone, while a vCPU that had the frame bound has not left guest mode.
/// The test plays the processor: it passes the latch and stays in guest mode.
@Suite struct KernelLingeringTests {
  static let page: UInt64 = 0x40_0000

  /// Two environments; the second maps a page of the first, and its vCPU is in guest mode.
  private struct Shared {
    let bench: KernelBench
    let owner: EnvironmentID
    let user: EnvironmentID
    let handle: CapabilityHandle
    let latch = ExecutionLatch()
    let memory: Answer
    var frame: Frame { Frame(UInt32(memory.values.0)) }
    var granted: CapabilityHandle? {
      bench.kernel.capabilities.entries(of: user).first { $0.authority.resource.kind == .frames }?.handle
    }

    init() throws {
      bench = try KernelBench()
      owner = try bench.domain()
      (user, handle) = try bench.child(of: owner, latch: latch)
      memory = try bench.call(EXO_CALL_frame_allocate, .max, 1, by: owner)
      try bench.call(
        EXO_CALL_environment_map, handle.rawValue, UInt64(memory.result), KernelLingeringTests.page, 1 << 32,
        3,
        by: owner)
      latch.enter()
    }

    /// The user has touched the page, as the hardware tells.
    init(touched: Bool) throws {
      try self.init()
      guard touched, let space = bench.kernel.space(of: user),
        let slot = space.slot(of: GuestAddress(KernelLingeringTests.page), in: bench.kernel.memory)
      else { return }
      bench.kernel.memory.updateEntry(at: slot) { PageTableEntry(bits: $0.bits | PageTableEntry.accessed) }
    }
  }

  /// Whether `body` waits for the latch: it is given a while to end without.
  private func waits(for latch: ExecutionLatch, _ body: @escaping () throws -> Void) throws -> Bool {
    let ended = Atomic<Bool>(false)
    nonisolated(unsafe) let body = body
    return try withThread {
      try? body()
      ended.store(true, ordering: .releasing)
    } while: {
      let limit = ckvm_monotonic() + 50_000_000
      while !ended.load(ordering: .acquiring), ckvm_monotonic() < limit { ckvm_pause() }
      let waited = !ended.load(ordering: .acquiring)
      latch.leave()
      return waited
    }
  }

  private func withThread<R>(
    _ body: @escaping @Sendable () -> Void, while other: () -> R
  ) throws -> R {
    let thread = try HostThread(name: "model", body)
    let result = other()
    thread.join()
    return result
  }

  @Test func aFreedFrameWaitsForThoseWhoHadItMapped() throws {
    let shared = try Shared(touched: true)
    #expect(
      try waits(for: shared.latch) {
        try shared.bench.call(EXO_CALL_frame_free, UInt64(shared.memory.result), by: shared.owner)
        shared.bench.kernel.reclaim()
      })
    #expect(shared.bench.kernel.checkInvariants() == [])
  }

  @Test func aFreedFrameWaitsForThoseWhoUnmappedItBefore() throws {
    let shared = try Shared(touched: true)
    try shared.bench.call(EXO_CALL_unmap, Self.page, 1, by: shared.user)
    #expect(
      try waits(for: shared.latch) {
        try shared.bench.call(EXO_CALL_frame_free, UInt64(shared.memory.result), by: shared.owner)
        shared.bench.kernel.reclaim()
      })
  }

  @Test func revokingWaitsForWhoLosesTheFrame() throws {
    let shared = try Shared(touched: true)
    #expect(
      try waits(for: shared.latch) {
        try shared.bench.call(EXO_CALL_capability_revoke, UInt64(shared.memory.result), by: shared.owner)
      })
  }

  @Test func givingACapabilityUpEndsWhatWasUnmappedBefore() throws {
    let shared = try Shared(touched: true)
    try shared.bench.call(EXO_CALL_unmap, Self.page, 1, by: shared.user)
    let granted = try #require(shared.granted)
    #expect(
      try waits(for: shared.latch) {
        try shared.bench.call(EXO_CALL_capability_drop, granted.rawValue, by: shared.user)
      })
  }

  /// Nobody is disturbed for what he never had, nor twice.
  @Test func othersAreNotDisturbed() throws {
    let shared = try Shared(touched: true)
    let own = try shared.bench.call(EXO_CALL_frame_allocate, .max, 1, by: shared.owner)
    try shared.bench.call(EXO_CALL_map, UInt64(own.result), 0, Self.page, 1, 3, by: shared.owner)
    try shared.bench.call(EXO_CALL_frame_free, UInt64(own.result), by: shared.owner)
    // Returns although the other vCPU stays in guest mode.
    shared.bench.kernel.reclaim()
    shared.latch.leave()
    try shared.bench.call(EXO_CALL_unmap, Self.page, 1, by: shared.user)
    shared.latch.enter()
    try shared.bench.call(EXO_CALL_frame_free, UInt64(shared.memory.result), by: shared.owner)
    shared.bench.kernel.reclaim()
    #expect(shared.bench.kernel.frames.isFree(shared.frame))
  }

  /// A page that was never touched is in no translation: nobody is waited for.
  @Test func whatWasNeverTouchedIsNotWaitedFor() throws {
    let shared = try Shared(touched: false)
    #expect(
      try !waits(for: shared.latch) {
        try shared.bench.call(EXO_CALL_frame_free, UInt64(shared.memory.result), by: shared.owner)
        shared.bench.kernel.reclaim()
      })
    #expect(shared.bench.kernel.frames.isFree(shared.frame))
    #expect(shared.bench.kernel.checkInvariants() == [])
  }
}
