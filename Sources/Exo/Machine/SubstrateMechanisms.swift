import CKVM
import ExoABI

/// What the exokernel does differently on the two kinds of machine. Every contract is the same on both: an environment
/// cannot tell them apart but by `exo_start.features` and by speed.
protocol SubstrateMechanisms: Sendable {
  var kind: Substrate.Kind { get }
  /// Bits of EFER beyond long mode.
  var extendedFeatures: UInt64 { get }
  /// Bits of `exo_start.features` that hold on this kind of machine alone.
  var features: UInt64 { get }
  /// LSTAR and FMASK for an environment with this handler of SYSCALL, or none.
  func systemCallRegisters(handler: GuestAddress?) -> (entry: UInt64, mask: UInt64)
  /// Gives an address space what the nucleus needs in it beyond text, data and gates.
  func equip(_ shell: Shell, in memory: PhysicalMemory)
  /// Has SYSCALL enter this handler from now on, as far as that takes a change in memory. The vCPU's registers follow
  /// (`systemCallRegisters`).
  func bindSystemCall(_ handler: GuestAddress?, in tables: NucleusTables, _ memory: PhysicalMemory)
  /// Sees to it that no translation lets through a write that its page-table entry forbids now. False if that takes
  /// dropping the translations.
  func dropWrites(_ runs: [FrameRuns.Run], in memory: PhysicalMemory, vm: borrowing Descriptor) -> Bool
}

/// Where SYSCALL without a handler leads: nowhere an environment may execute, so that its page-fault handler, or its
/// report, says what happened.
private let systemCallStub = exo_nucleus_text + UInt64(EXO_NUCLEUS_SYSCALL_STUB)

/// TF, DF, NT, RF and AC: cleared by SYSCALL.
private let clearedFlags: UInt64 = 0x5_4500
private let interruptFlag: UInt64 = 0x200

/// Ring 0 is carried out in software (PVM): SYSCALL stays at ring 3, and no page of the nucleus may be writable, for
/// exceptions are pushed with supervisor rights.
struct InterpretedRing0: SubstrateMechanisms {
  var kind: Substrate.Kind { .interpreted }
  /// EFER.SCE stays 0, which PVM does not heed. Where this is used on other machines, for a test, SYSCALL is invalid:
  /// its entry may be the environment's own address, and hardware would go there at ring 0.
  var extendedFeatures: UInt64 { 0 }
  var features: UInt64 { 0 }

  /// SYSCALL jumps to the handler itself. IF stays set: ring 3 could not set it again.
  func systemCallRegisters(handler: GuestAddress?) -> (entry: UInt64, mask: UInt64) {
    (handler?.value ?? systemCallStub, clearedFlags)
  }
  func equip(_ shell: Shell, in memory: PhysicalMemory) {}
  func bindSystemCall(_ handler: GuestAddress?, in tables: NucleusTables, _ memory: PhysicalMemory) {}

  /// Clearing the pages' bits in the dirty log makes KVM look at the entry at the next write.
  func dropWrites(_ runs: [FrameRuns.Run], in memory: PhysicalMemory, vm: borrowing Descriptor) -> Bool {
    (try? memory.writeProtect(runs, vm: vm)) != nil
  }
}

/// Ring 0 runs on the processor (AMD-V, VT-x): SYSCALL enters the nucleus, which answers some calls itself and sends the
/// others on to the environment's handler.
struct NativeRing0: SubstrateMechanisms {
  var kind: Substrate.Kind { .native }
  var extendedFeatures: UInt64 { 1 }  // SCE
  var features: UInt64 { UInt64(EXO_FEATURE_NUCLEUS_CALLS) }

  /// Never an environment's address, and never 0.
  func systemCallRegisters(handler: GuestAddress?) -> (entry: UInt64, mask: UInt64) {
    (systemCallStub, clearedFlags | interruptFlag)
  }

  /// The trap page once more behind the gates, and as a supervisor's for the nucleus's own stacks; and a window in which ring 0
  /// can write the page tables. Ring 3 reaches none more than it did: the page was its own, and the others are a supervisor's.
  /// The hardware stores nothing there for it either: every gate's stack was found to lie in the user half.
  func equip(_ shell: Shell, in memory: PhysicalMemory) {
    let root = shell.space.root.address.value
    memory.store(
      root | PageTableEntry.present | PageTableEntry.writable | PageTableEntry.noExecute,
      PhysicalAddress(root + UInt64(EXO_NUCLEUS_TABLES_SLOT) * 8))
    // The tables above the nucleus let ring 3 through to that page alone: the others' own entries do not.
    for slot in shell.space.links(above: GuestAddress(exo_nucleus_scratch), in: memory) {
      memory.updateEntry(at: slot) {
        PageTableEntry(bits: $0.bits | PageTableEntry.user | PageTableEntry.writable)
      }
    }
    guard let slot = shell.space.slot(of: GuestAddress(exo_nucleus_scratch), in: memory) else { return }
    memory.store(Self.scratchEntry(shell.trap).bits, slot)
    memory.store(UInt64(EXO_USER_SS), PhysicalAddress(shell.trap.address.value + 8))
    guard let stacks = shell.space.slot(of: GuestAddress(exo_nucleus_stacks), in: memory) else { return }
    memory.store(Self.stackEntry(shell.trap).bits, stacks)
    shell.tables.setNucleusStacks(at: exo_nucleus_stacks, in: memory)
  }

  /// No environment's protection keys bind it.
  static func stackEntry(_ trap: Frame) -> PageTableEntry {
    PageTableEntry(nucleus: trap.address, executable: false, writable: true)
  }

  static func scratchEntry(_ trap: Frame) -> PageTableEntry {
    var entry = PageTableEntry(trap.address, rights: [.read, .write], granted: [])
    entry.bits |= PageTableEntry.pinned
    return entry
  }

  func bindSystemCall(_ handler: GuestAddress?, in tables: NucleusTables, _ memory: PhysicalMemory) {
    let frame = tables.idt.address.value + UInt64(EXO_NUCLEUS_UPCALL_OFFSET)
    memory.store(UInt64(EXO_USER_CS), PhysicalAddress(frame + 8))
    memory.store(0x202, PhysicalAddress(frame + 16))
    // One word: the vCPU may be reading it.
    memory.store(handler?.value ?? systemCallStub, PhysicalAddress(frame))
  }

  /// The processor may log dirty pages itself (PML) and leave entries writable.
  func dropWrites(_ runs: [FrameRuns.Run], in memory: PhysicalMemory, vm: borrowing Descriptor) -> Bool {
    false
  }
}

extension AddressSpace {
  /// Where the entries lie that link the tables above a page, the root's first; as many as there are.
  func links(above address: GuestAddress, in memory: PhysicalMemory) -> [PhysicalAddress] {
    var slots: [PhysicalAddress] = []
    var table = root.address
    for level: UInt64 in [3, 2, 1] {
      let slot = PhysicalAddress(table.value + (address.value >> (12 + 9 * level) & 511) * 8)
      let entry = memory.entry(at: slot)
      guard entry.isPresent, !entry.isHuge else { return slots }
      slots.append(slot)
      table = entry.address
    }
    return slots
  }
}
