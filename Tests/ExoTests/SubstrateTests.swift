import ExoABI
import Testing

@testable import Exo

/// What the two kinds of machine are given, and that an address space made for one can be brought up to the other.
@Suite struct SubstrateTests {
  @Test func systemCallsNeverEnterAtAnEnvironmentsAddressNatively() {
    let handler = GuestAddress(0x40_1000)
    let stub = exo_nucleus_text + UInt64(EXO_NUCLEUS_SYSCALL_STUB)
    for bound in [nil, handler] {
      let (entry, mask) = NativeRing0().systemCallRegisters(handler: bound)
      #expect(entry == stub)
      // TF, IF, DF, NT, RF, AC.
      #expect(mask == 0x5_4700)
    }
    #expect(NativeRing0().extendedFeatures == 1)
    // Its entry may be the environment's own, so SYSCALL must not be a way into ring 0.
    #expect(InterpretedRing0().extendedFeatures == 0)
    #expect(InterpretedRing0().systemCallRegisters(handler: nil).entry == stub)
    #expect(InterpretedRing0().systemCallRegisters(handler: handler).entry == handler.value)
    #expect(InterpretedRing0().systemCallRegisters(handler: handler).mask & 0x200 == 0)
  }

  private static func features(_ id: EnvironmentID, _ bench: KernelBench) throws -> UInt64 {
    let start = try #require(bench.kernel.domains[id]?.shell.start)
    let offset = try #require(MemoryLayout<exo_start>.offset(of: \exo_start.features))
    return bench.kernel.memory.load(PhysicalAddress(start.address.value + UInt64(offset)))
  }

  /// Environments from before the substrate was known, idle shells and new environments alike.
  @Test func whatWasMadeBeforeIsBroughtUp() throws {
    let bench = try KernelBench(frames: 1024)
    let old = try bench.domain()
    let dead = try bench.domain()
    bench.kernel.destroyDomain(dead)
    #expect(bench.kernel.checkInvariants() == [])
    bench.kernel.adopt(NativeRing0())
    #expect(bench.kernel.checkInvariants() == [])
    #expect(try Self.features(old, bench) == UInt64(EXO_FEATURE_NUCLEUS_CALLS))
    let new = try bench.domain()
    let (child, _) = try bench.child(of: new)
    #expect(bench.kernel.checkInvariants() == [])

    for id in [old, new, child] {
      let shell = try #require(bench.kernel.domains[id]?.shell)
      // The one page of the upper half that ring 3 reaches is the trap page.
      for (address, reached) in [
        (exo_nucleus_text, false), (exo_nucleus_data, false), (exo_nucleus_idt, false),
        (exo_nucleus_scratch, true), (exo_nucleus_scratch + 4096, false), (exo_nucleus_tables, false),
        (exo_nucleus_stacks, false),
      ] {
        let (rights, entry) = shell.space.access(to: GuestAddress(address), in: bench.kernel.memory)
        #expect(rights == (reached ? [.read, .write] : []))
        if reached { #expect(entry.address == shell.trap.address) }
      }
      let frame = shell.tables.idt.address.value + UInt64(EXO_NUCLEUS_UPCALL_OFFSET)
      let words = (0..<3).map { bench.kernel.memory.load(PhysicalAddress(frame + UInt64($0) * 8)) }
      #expect(
        words == [exo_nucleus_text + UInt64(EXO_NUCLEUS_SYSCALL_STUB), UInt64(EXO_USER_CS), 0x202])
      #expect(bench.kernel.memory.load(PhysicalAddress(shell.trap.address.value + 8)) == UInt64(EXO_USER_SS))
    }
  }

  /// The checker sees a frame by which SYSCALL would return to ring 0, and a nucleus page let through to ring 3.
  @Test func theCheckerLooksAtThem() throws {
    let bench = try KernelBench()
    let id = try bench.domain()
    bench.kernel.adopt(NativeRing0())
    let shell = try #require(bench.kernel.domains[id]?.shell)
    let selector = PhysicalAddress(
      shell.tables.idt.address.value + UInt64(EXO_NUCLEUS_UPCALL_OFFSET) + 8)
    bench.kernel.memory.store(UInt64(EXO_NUCLEUS_CS), selector)
    #expect(bench.kernel.checkInvariants().count == 1)
    bench.kernel.memory.store(UInt64(EXO_USER_CS), selector)
    #expect(bench.kernel.checkInvariants() == [])
    let slot = try #require(
      shell.space.slot(of: GuestAddress(exo_nucleus_idt), in: bench.kernel.memory))
    let before = bench.kernel.memory.updateEntry(at: slot) {
      PageTableEntry(bits: $0.bits | PageTableEntry.user | PageTableEntry.writable)
    }
    #expect(bench.kernel.checkInvariants().count == 1)
    bench.kernel.memory.store(before.bits, slot)
    #expect(bench.kernel.checkInvariants() == [])
  }

  @Test func decoding() throws {
    func decode(_ handler: UInt64) throws -> Exocall {
      try Exocall(
        Submission(
          tag: 1, arguments: (handler, 0, 0, 0, 0), call: EXO_CALL_system_call_bind.rawValue, consumed: 0))
    }
    #expect(try decode(0) == .systemCallBind(handler: nil))
    #expect(try decode(0x40_1000) == .systemCallBind(handler: GuestAddress(0x40_1000)))
    for address in [UInt64(EXO_USER_LIMIT), exo_nucleus_text, .max] {
      #expect(throws: Refusal.badAddress) { try decode(address) }
    }
  }
}
