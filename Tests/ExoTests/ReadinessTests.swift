import ExoABI
import Testing

@testable import Exo

/// Environments that their maker enters without anybody starting them, and that are made what they were: without anything running.
@Suite struct ReadinessTests {
  private let bench: KernelBench
  private let maker: EnvironmentID
  private let child: EnvironmentID
  private let handle: CapabilityHandle
  /// The maker's frames, mapped in the child: text, and two pages that it may write.
  private let frames: UInt64
  private static let text: UInt64 = 0x40_0000
  private static let data: UInt64 = 0x50_0000

  init() throws {
    bench = try KernelBench()
    maker = try bench.domain()
    try bench.executable(at: Self.text, in: maker)
    try bench.call(EXO_CALL_transfer_bind, Self.text, by: maker)
    (child, handle) = try bench.child(of: maker)
    frames = UInt64(
      bitPattern: try bench.call(EXO_CALL_frame_allocate, UInt64(EXO_FRAME_ANY), 3, by: maker).result)
    try map(page: 0, at: Self.text, UInt64(EXO_READ | EXO_EXECUTE))
    try map(page: 1, at: Self.data, UInt64(EXO_READ | EXO_WRITE))
    try map(page: 2, at: Self.data + 4096, UInt64(EXO_READ | EXO_WRITE))
  }

  private func map(page: UInt64, at address: UInt64, _ rights: UInt64) throws {
    try bench.call(
      EXO_CALL_environment_map, handle.rawValue, frames, address, page | 1 << 32, rights, by: maker)
  }
  @discardableResult
  private func ready(entry: UInt64 = text, stack: UInt64 = 0x7000) throws -> Int {
    let point = EntryPoint(entry: GuestAddress(entry), stack: GuestAddress(stack))
    return try bench.kernel.ready(child, at: point, by: maker, through: handle)
  }
  private func expectSound(_ comment: Comment? = nil) {
    #expect(bench.kernel.checkInvariants() == [], comment)
  }
  private func page(_ address: UInt64) -> PhysicalAddress { bench.entry(address, of: child).address }
  /// The child writes to a page, as the hardware shows it.
  private func write(_ address: UInt64) throws {
    bench.kernel.memory.store(77, page(address))
    let slot = try #require(bench.slot(address, of: child))
    bench.kernel.memory.updateEntry(at: slot) {
      PageTableEntry(bits: $0.bits | PageTableEntry.accessed | PageTableEntry.dirty)
    }
  }
  private func word(_ address: UInt64) -> UInt64 { bench.kernel.memory.load(page(address)) }
  private func words() throws -> [UInt64] {
    try #require(bench.kernel.domains[child]?.shell.transfer).words(in: bench.kernel.memory)
  }
  private func isBusy(_ body: () throws -> Void) -> Bool {
    do { try body() } catch { return error as? Refusal == .busy }
    return false
  }

  @Test func aTransferBeginsIt() throws {
    let number = try ready()
    expectSound()
    #expect(try words() == [Self.text, UInt64(EXO_USER_CS), 0x202, 0x7000, UInt64(EXO_USER_SS)])
    let transfer = try #require(bench.kernel.domains[maker]?.shell.transfer)
    let root = try #require(bench.kernel.domains[child]?.shell.space.root.address.value)
    #expect(transfer.badge(number, in: bench.kernel.memory) & PageTableEntry.addressMask == root)
    // Nobody is told: the child has not begun.
    #expect(bench.kernel.signals.isEmpty)
    // The maker pays for the shared page and a binding, the child for its entry.
    #expect(bench.kernel.connections(madeBy: maker) == 1)
  }

  @Test func whatItWroteToIsZeroed() throws {
    let number = try ready()
    try write(Self.data)
    // Not marked: the child has not written here.
    bench.kernel.memory.store(78, page(Self.data + 4096))
    let trap = try #require(bench.kernel.domains[child]?.shell.trap.address)
    bench.kernel.memory.store(5, PhysicalAddress(trap.value + 0x400))
    #expect(try ready(stack: 0x9000) == number)
    #expect(word(Self.data) == 0 && word(Self.data + 4096) == 78)
    #expect(bench.kernel.memory.load(PhysicalAddress(trap.value + 0x400)) == 0)
    #expect(try words()[3] == 0x9000)
    expectSound()
  }

  @Test func whatOthersHaveMappedTooIsTheirs() throws {
    try ready()
    try bench.call(EXO_CALL_map, frames, 1, 0x60_0000, 1, UInt64(EXO_READ | EXO_WRITE), by: maker)
    try write(Self.data)
    try write(Self.data + 4096)
    try ready()
    #expect(word(Self.data) == 77 && word(Self.data + 4096) == 0)
  }

  /// Natively an environment changes the protection of its pages without an exocall.
  @Test func changedProtectionIsSeen() throws {
    try ready()
    let slot = try #require(bench.slot(Self.text, of: child))
    bench.kernel.memory.updateEntry(at: slot) { $0.with(rights: []) }
    try write(Self.data)
    #expect(isBusy { try ready() })
    #expect(word(Self.data) == 77, "nothing is done by half")
  }

  @Test func goneFramesAreSeen() throws {
    try ready()
    try bench.call(EXO_CALL_capability_revoke, frames, by: maker)
    #expect(isBusy { try ready() })
    expectSound()
  }

  @Test func refusals() throws {
    #expect(throws: Refusal.badAddress) { try ready(entry: Self.data) }
    #expect(bench.kernel.domains[child]?.entry == nil, "nothing is left of it")
    expectSound("refused")
    try ready()
    #expect(isBusy { try ready(entry: Self.text + 16) })
    bench.kernel.closeReadiness(of: child)
    expectSound("started")
    #expect(isBusy { try ready() })
    // Without an entry the maker could not be gone back to.
    let other = try bench.domain()
    let (orphan, named) = try bench.child(of: other)
    #expect(throws: Refusal.absent) {
      try bench.kernel.ready(
        orphan, at: EntryPoint(entry: GuestAddress(Self.text), stack: GuestAddress(0)), by: other,
        through: named)
    }
  }

  @Test func hugePagesAreNotMadeWhatTheyWere() throws {
    let big = try KernelBench(frames: 4096)
    let maker = try big.domain(frames: 2000)
    try big.executable(at: Self.text, in: maker)
    try big.call(EXO_CALL_transfer_bind, Self.text, by: maker)
    let (child, handle) = try big.child(of: maker, frames: 700)
    try big.executable(at: Self.text, in: child)
    let frames = try big.call(EXO_CALL_frame_allocate, UInt64(EXO_FRAME_ANY), 512, 512, by: child).result
    try big.call(
      EXO_CALL_map, UInt64(bitPattern: frames), 0, 0x8000_0000, 512,
      UInt64(EXO_READ | EXO_WRITE) | UInt64(EXO_MAP_HUGE), by: child)
    #expect(throws: Refusal.outOfRange) {
      try big.kernel.ready(
        child, at: EntryPoint(entry: GuestAddress(Self.text), stack: GuestAddress(0)), by: maker,
        through: handle)
    }
    #expect(big.kernel.checkInvariants() == [])
  }

  /// With either end's end it is closed, and everything is given back.
  @Test(arguments: [true, false]) func ends(childFirst: Bool) throws {
    let held = bench.kernel.domains[maker]?.framesHeld
    let number = try ready()
    if childFirst {
      bench.kernel.destroyDomain(child)
      expectSound("the child has ended")
      try bench.call(EXO_CALL_gate_disconnect, UInt64(number), by: maker)
      #expect(bench.kernel.domains[maker]?.framesHeld == held)
    } else {
      bench.kernel.destroyDomain(maker)
    }
    expectSound("both")
  }

  /// The capability to the child is what it stands on.
  @Test func itEndsWithTheCapability() throws {
    try ready()
    try bench.call(EXO_CALL_capability_drop, handle.rawValue, by: maker)
    #expect(bench.kernel.connections.values.allSatisfy { !$0.isOpen })
  }
}
