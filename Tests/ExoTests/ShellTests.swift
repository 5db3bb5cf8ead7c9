import ExoABI
import Testing

@testable import Exo

/// What an environment's tables and kit cost, and that the machine has it back.
@Suite struct ShellTests {
  /// Children that spend their quota on page tables, one after another: no more than the pool keeps stays behind.
  @Test func tablesOfTheDeadAreGivenBack() throws {
    let bench = try KernelBench(frames: 1024)
    let parent = try bench.domain(frames: 300)
    let before = bench.kernel.frames.freeCount
    for round in 0..<12 {
      let (child, handle) = try bench.child(of: parent, frames: 120)
      let memory = try bench.call(EXO_CALL_frame_allocate, .max, 1, by: child)
      var address = UInt64(round + 1) << 40
      var refusal: Refusal?
      while refusal == nil {
        do {
          try bench.call(EXO_CALL_map, UInt64(memory.result), 0, address, 1, 1, by: child)
        } catch let error as Refusal { refusal = error }
        address += 1 << 30
      }
      #expect(refusal == .quota)
      #expect(bench.kernel.checkInvariants() == [])
      bench.kernel.destroyDomain(child)
      try bench.call(EXO_CALL_capability_drop, UInt64(handle.rawValue), by: parent)
      _ = bench.kernel.takeAftermath()
    }
    #expect(before - bench.kernel.frames.freeCount <= 120)
    #expect(bench.kernel.checkInvariants() == [])
  }

  /// A child's kit and tables come out of its own quota, which is its creator's.
  @Test func aChildIsChargedForItsShell() throws {
    let bench = try KernelBench()
    let parent = try bench.domain(frames: 200)
    #expect(throws: Refusal.quota) { try bench.child(of: parent, frames: 8) }
    let (child, _) = try bench.child(of: parent, frames: UInt64(Shell.framesNeeded))
    #expect(bench.kernel.domains[child]?.framesHeld == Shell.framesNeeded)
    #expect(throws: Refusal.quota) { try bench.call(EXO_CALL_frame_allocate, .max, 1, by: child) }
    #expect(bench.kernel.checkInvariants() == [])
  }

  /// Many at once: some are kept for the next, the others are frames again.
  @Test func theDeadAreNotAllKept() throws {
    let bench = try KernelBench(frames: 12288)
    let before = bench.kernel.frames.freeCount
    let all = try (0..<100).map { _ in try bench.domain(frames: 160) }
    for id in all { bench.kernel.destroyDomain(id) }
    #expect(bench.kernel.idleShells.count - bench.kernel.surplus.count <= Shell.keptLimit)
    #expect(bench.kernel.surplusFrames <= 12288 / 32)
    let kept = bench.kernel.idleShells.reduce(0) { $0 + $1.frameCount }
    #expect(bench.kernel.frames.freeCount == before - kept)
    #expect(bench.kernel.checkInvariants() == [])
  }

  /// What the dead have seen is forgotten for several of them at once, before their shells serve again.
  @Test func shellsRestUntilThereAreEnough() throws {
    let bench = try KernelBench(frames: 16384)
    let address = GuestAddress(0x4000_0000)
    var most = 0
    for round in 0..<30 {
      let id = try bench.domain(frames: 160)
      #expect(bench.kernel.domains[id]?.shell.seen == [])
      let memory = try bench.call(EXO_CALL_frame_allocate, .max, 1, by: id)
      try bench.call(EXO_CALL_map, UInt64(memory.result), 0, address.value, 1, 1, by: id)
      let space = bench.kernel.space(of: id)
      let found = space?.slot(of: address, in: bench.kernel.memory)
      let slot = try #require(found)
      // As the hardware does at the first access.
      bench.kernel.memory.updateEntry(at: slot) { PageTableEntry(bits: $0.bits | PageTableEntry.accessed) }
      bench.kernel.destroyDomain(id)
      let (resting, ready) = (
        bench.kernel.resting.filter(\.seen.isEmpty), bench.kernel.shells.flatMap(\.seen)
      )
      #expect(resting.isEmpty && ready.isEmpty, "round \(round)")
      most = max(most, bench.kernel.resting.count)
      #expect(bench.kernel.idleShells.count <= Shell.restingLimit)
    }
    #expect(most == Shell.restingLimit - 1)
    #expect(bench.kernel.checkInvariants() == [])
  }
}
