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
      _ = bench.kernel.takeOrphans()
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
    #expect(bench.kernel.shells.count <= Shell.keptLimit)
    #expect(bench.kernel.surplusFrames <= 12288 / 32)
    let kept = bench.kernel.shells.reduce(0) { $0 + $1.frameCount } + bench.kernel.surplusFrames
    #expect(bench.kernel.frames.freeCount == before - kept)
    #expect(bench.kernel.checkInvariants() == [])
  }
}
