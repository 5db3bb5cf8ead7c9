import ExoABI
import Nucleus

/// The nucleus's data pages of one environment: GDT, TSS and IDT, at one linear address in every address space, so
/// that CR3 alone switches all of them. Environments never have them writable; the exokernel edits them through its
/// own mapping.
struct NucleusTables: Sendable {
  let data: Frame
  let idt: Frame

  /// Fills both frames: every vector goes to the nucleus's own stub.
  func initialize(in memory: PhysicalMemory) {
    // GDT. No 32-bit code segment, call gate or LDT.
    let descriptors: [(selector: Int32, bits: UInt64)] = [
      (EXO_NUCLEUS_CS, 0x00af_9b00_0000_ffff), (EXO_NUCLEUS_SS, 0x00cf_9300_0000_ffff),
      (EXO_USER_SS & ~3, 0x00cf_f300_0000_ffff), (EXO_USER_CS & ~3, 0x00af_fb00_0000_ffff),
      (EXO_ABSENT_SELECTOR & ~3, 0x00cf_7300_0000_ffff),
    ]
    for (selector, bits) in descriptors { memory.store(bits, gdt(selector)) }
    let tss = UInt64(exo_nucleus_data) + UInt64(EXO_NUCLEUS_TSS_OFFSET)
    memory.store(
      0x0000_8900_0000_0067 | (tss & 0xff_ffff) << 16 | (tss >> 24 & 0xff) << 56, gdt(EXO_TSS_SELECTOR))
    memory.store(tss >> 32, gdt(EXO_TSS_SELECTOR + 8))
    // I/O map base past the limit: ring 3 may use no port.
    memory.store32(0x68 << 16, tssField(0x64))
    setNucleusStacks(at: exo_kit_trap, in: memory)
    setStack(
      slot: Int(EXO_IST_TRANSFER), top: exo_nucleus_transfer + UInt64(EXO_TRANSFER_FRAME_TOP), in: memory)
    for vector in 0..<UInt8(EXO_VECTOR_COUNT) { unbind(ExceptionVector(vector), in: memory) }
  }

  private func gdt(_ selector: Int32) -> PhysicalAddress {
    PhysicalAddress(data.address.value + UInt64(EXO_NUCLEUS_GDT_OFFSET) + UInt64(selector))
  }
  private func tssField(_ offset: Int) -> PhysicalAddress {
    PhysicalAddress(data.address.value + UInt64(EXO_NUCLEUS_TSS_OFFSET) + UInt64(offset))
  }

  /// Points an interrupt stack at its top. IST fields of the TSS lie at 0x24 + 8(n - 1), not 8-byte aligned.
  func setStack(slot: Int, top: UInt64, in memory: PhysicalMemory) {
    let offset = 0x24 + 8 * (slot - 1)
    memory.store32(UInt32(truncatingIfNeeded: top), tssField(offset))
    memory.store32(UInt32(truncatingIfNeeded: top >> 32), tssField(offset + 4))
  }

  /// Where the trap page is found by the nucleus's own gates.
  func setNucleusStacks(at page: UInt64, in memory: PhysicalMemory) {
    setStack(slot: Int(EXO_IST_NUCLEUS), top: page + UInt64(EXO_TRAP_NUCLEUS_TOP), in: memory)
    setStack(slot: Int(EXO_IST_DOUBLE_FAULT), top: page + UInt64(EXO_TRAP_DOUBLE_FAULT_TOP), in: memory)
  }

  /// The vector goes to the nucleus, which ends the environment. The stack is the pinned trap page: with IST 0 an
  /// environment could choose what the hardware overwrites.
  func unbind(_ vector: ExceptionVector, in memory: PhysicalMemory) {
    let own = [.doubleFault, .nonMaskable, .machineCheck].contains(vector)
    setGate(
      vector,
      target: UInt64(exo_nucleus_text) + UInt64(vector.number) * UInt64(EXO_NUCLEUS_STUB_SIZE),
      selector: EXO_NUCLEUS_CS, stack: Int(own ? EXO_IST_DOUBLE_FAULT : EXO_IST_NUCLEUS), in: memory)
  }

  /// A direct gate: the hardware enters `handler` at ring 3, no kernel instruction runs.
  func bindDirect(_ vector: ExceptionVector, handler: GuestAddress, in memory: PhysicalMemory) {
    setGate(
      vector, target: handler.value, selector: EXO_USER_CS, stack: vector.stackSlot, in: memory)
  }

  /// #PF through the stub that leaves CR2 below the error code and returns to `handler`.
  func bindPageFaultWithAddress(handler: GuestAddress, stackTop: UInt64, in memory: PhysicalMemory) {
    let frame = data.address.value + UInt64(EXO_NUCLEUS_RETURN_OFFSET)
    // RIP, CS, RFLAGS, RSP (seven words below the top: CR2 and the hardware's frame), SS.
    let words: [UInt64] = [
      handler.value, UInt64(EXO_USER_CS), 0x202, stackTop - 56, UInt64(EXO_USER_SS),
    ]
    for (i, word) in words.enumerated() { memory.store(word, PhysicalAddress(frame + UInt64(i) * 8)) }
    setGate(
      .pageFault, target: UInt64(exo_nucleus_text) + UInt64(EXO_NUCLEUS_PF_ADDRESS_STUB),
      selector: EXO_NUCLEUS_CS, stack: ExceptionVector.pageFault.stackSlot, in: memory)
  }

  /// #OF, which `int $4` raises, enters a stub of the nucleus for control transfer.
  func bindTransfer(_ stub: TransferPage.Stub, in memory: PhysicalMemory) {
    setGate(
      .overflow, target: UInt64(exo_nucleus_text) + UInt64(stub.offset),
      selector: EXO_NUCLEUS_CS, stack: Int(EXO_IST_TRANSFER), in: memory)
  }

  /// A trap gate (an interrupt gate would clear IF, which ring 3 cannot set again).
  ///
  /// A gate is two words: a vCPU that read one before and one after would enter ring 0 at an address the environment
  /// chose. So the environment must be out of guest mode (`ExecutionLatch`) whenever this is called.
  private func setGate(
    _ vector: ExceptionVector, target: UInt64, selector: Int32, stack: Int, in memory: PhysicalMemory
  ) {
    // What instructions of ring 3 raise on purpose.
    let privilege: UInt64 = vector == .breakpoint || vector == .overflow ? 3 : 0
    let low =
      target & 0xffff | UInt64(selector) << 16 | UInt64(stack) << 32 | 0x8f << 40 | privilege << 45
      | (target >> 16 & 0xffff) << 48
    let gate = idt.address.value + UInt64(vector.number) * 16
    memory.store(target >> 32, PhysicalAddress(gate + 8))
    memory.store(low, PhysicalAddress(gate))
  }
}
