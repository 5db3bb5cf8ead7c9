import ExoABI
import Glibc

@testable import Exo

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers for the same seed everywhere.
struct Randomness: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }
  /// True once in `n` times.
  mutating func oneIn(_ n: Int) -> Bool { Int.random(in: 0..<n, using: &self) == 0 }
  mutating func below(_ n: Int) -> Int { Int.random(in: 0..<n, using: &self) }
  mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
  /// Numbers of every size are equally likely.
  mutating func ofAnySize() -> UInt64 { next() >> UInt64(below(64)) }
}

/// How long and from where a randomised test runs: `EXO_SEED` repeats a run, `EXO_MODEL_SECONDS` makes it long.
enum KernelRun {
  static var seed: UInt64 { number("EXO_SEED") ?? UInt64.random(in: 1 ... .max) }
  static func seconds(_ usual: Double) -> Double { number("EXO_MODEL_SECONDS").map { Double($0) } ?? usual }
  /// `EXO_FUZZ_CALLS`
  static func calls(_ usual: Int) -> Int { number("EXO_FUZZ_CALLS").map { Int($0) } ?? usual }
  /// `EXO_FUZZ_PACKETS`, of each case.
  static func packets(_ usual: Int) -> Int { number("EXO_FUZZ_PACKETS").map { Int($0) } ?? usual }

  private static func number(_ name: String) -> UInt64? {
    guard let value = unsafe getenv(name) else { return nil }
    return UInt64(unsafe String(cString: value))
  }
}

/// A kernel with nothing running on it, and shorthand for what tests do with it.
final class KernelBench {
  var kernel: Kernel

  init(frames: Int = 512) throws {
    kernel = try Kernel(memory: PhysicalMemory(size: UInt64(frames) << 12))
    kernel.sliceOwners = [[EnvironmentID?]](
      repeating: [EnvironmentID?](repeating: nil, count: SliceVector.count), count: 2)
  }

  static func request(_ id: EnvironmentID, quota: Quota, latch: ExecutionLatch = ExecutionLatch())
    -> DomainRequest
  {
    DomainRequest(
      id: id, image: nil, quota: quota, features: 0, latch: latch)
  }

  /// An environment that nobody created: it has a stack and an argument page.
  func domain(frames: UInt64 = 200, latch: ExecutionLatch = ExecutionLatch()) throws -> EnvironmentID {
    let id = kernel.newEnvironmentID()
    try kernel.createDomain(
      Self.request(
        id, quota: Quota(frames: frames, capabilities: 200, bindings: 20, environments: 6, ringWork: 256),
        latch: latch))
    return id
  }

  /// An environment made by another.
  func child(
    of creator: EnvironmentID, frames: UInt64 = 32, latch: ExecutionLatch = ExecutionLatch()
  ) throws -> (EnvironmentID, CapabilityHandle) {
    let id = kernel.newEnvironmentID()
    let handle = try kernel.createChild(
      Self.request(
        id, quota: Quota(frames: frames, capabilities: 40, bindings: 4, environments: 1, ringWork: 64),
        latch: latch),
      of: creator)
    return (id, handle)
  }

  /// Makes an exocall as a ring would.
  @discardableResult
  func call(_ number: exo_call, _ arguments: UInt64..., by id: EnvironmentID) throws -> Answer {
    var five = arguments + [0, 0, 0, 0, 0]
    five.removeSubrange(5...)
    let submission = Submission(
      tag: 1, arguments: (five[0], five[1], five[2], five[3], five[4]), call: number.rawValue, consumed: 0)
    return try kernel.carryOut(Exocall(submission), for: id)
  }

  func entry(_ address: UInt64, of id: EnvironmentID) -> PageTableEntry {
    kernel.domains[id]?.shell.space.entry(of: GuestAddress(address), in: kernel.memory) ?? .empty
  }
  /// Where the entry of a page lies.
  func slot(_ address: UInt64, of id: EnvironmentID) -> PhysicalAddress? {
    kernel.domains[id]?.shell.space.slot(of: GuestAddress(address), in: kernel.memory)
  }
}
