import ExoABI

/// The part of the invariants about what the hardware reads as it delivers an exception: GDT, TSS and IDT.
extension Kernel {
  func checkGates(of domain: Domain, _ id: EnvironmentID, _ wrong: inout [String]) {
    checkNucleusData(of: domain, id, &wrong)
    var bound: [Int: Set<ExceptionVector>] = [:]
    for number in 0..<UInt8(EXO_VECTOR_COUNT) {
      let vector = ExceptionVector(number)
      let gate = Gate(vector, in: domain.shell.tables, memory)
      let (isBound, problem) = judge(gate, of: vector, domain)
      if let problem { wrong.append("\(id), gate of \(vector.mnemonic): \(problem)") }
      if isBound { bound[vector.stackSlot, default: []].insert(vector) }
    }
    if bound != domain.exceptionStacks.mapValues(\.vectors) {
      wrong.append("\(id): gates are bound for \(bound), known are \(domain.exceptionStacks)")
    }
    for (slot, stack) in domain.exceptionStacks { checkStack(stack, slot, of: domain, id, &wrong) }
    // Interrupts have no gates.
    memory.forEachWord(of: domain.shell.tables.idt) { index, word in
      if mechanisms.kind == .native, index * 8 >= Int(EXO_NUCLEUS_UPCALL_OFFSET) {
        // Where SYSCALL is sent on to: user code at ring 3, or the stub that it may not execute.
        let isSound =
          switch index * 8 - Int(EXO_NUCLEUS_UPCALL_OFFSET) {
          case 0:
            word < UInt64(EXO_USER_LIMIT) || word == exo_nucleus_text + UInt64(EXO_NUCLEUS_SYSCALL_STUB)
          case 8: word == UInt64(EXO_USER_CS)
          default: word == 0x202
          }
        if !isSound { wrong.append("\(id): SYSCALL returns with \(hexadecimal(word))") }
      } else if index >= Int(EXO_VECTOR_COUNT) * 2 {
        wrong.append("\(id): a gate beyond the exceptions: \(index / 2)")
      }
    }
  }

  private struct Gate {
    let target: UInt64
    let selector: Int32
    let stack: Int
    /// Present, privilege, type.
    let kind: UInt64
    /// Bits that must be 0.
    let reserved: UInt64

    init(_ vector: ExceptionVector, in tables: NucleusTables, _ memory: PhysicalMemory) {
      let at = tables.idt.address.value + UInt64(vector.number) * 16
      let (low, high) = (memory.load(PhysicalAddress(at)), memory.load(PhysicalAddress(at + 8)))
      target = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32
      selector = Int32(low >> 16 & 0xffff)
      stack = Int(low >> 32 & 7)
      kind = low >> 40 & 0xff
      reserved = high >> 32 | low >> 35 & 0x1f
    }
  }

  /// Whether the gate is the environment's, and what is wrong with it.
  private func judge(_ gate: Gate, of vector: ExceptionVector, _ domain: Domain) -> (Bool, String?) {
    guard gate.stack != 0 else { return (false, "no stack of its own") }
    // Present, a 64-bit trap gate; only #BP and #OF may be raised by an instruction.
    guard gate.kind == (vector == .breakpoint || vector == .overflow ? 0xef : 0x8f), gate.reserved == 0 else {
      return (false, "type \(hexadecimal(gate.kind)), reserved bits \(hexadecimal(gate.reserved))")
    }
    let nucleus = exo_nucleus_text + UInt64(vector.number) * UInt64(EXO_NUCLEUS_STUB_SIZE)
    let isNuclear = [.doubleFault, .nonMaskable, .machineCheck].contains(vector)
    if gate.selector == EXO_NUCLEUS_CS, gate.target == nucleus {
      let stack = Int(isNuclear ? EXO_IST_DOUBLE_FAULT : EXO_IST_NUCLEUS)
      return (false, gate.stack == stack ? nil : "the nucleus's with stack \(gate.stack)")
    }
    if vector == .overflow, gate.target == exo_nucleus_text + UInt64(domain.transferStub.offset) {
      let isSound =
        domain.entry != nil && gate.selector == EXO_NUCLEUS_CS && gate.stack == Int(EXO_IST_TRANSFER)
      return (false, isSound ? nil : "transfer without an entry")
    }
    guard !isNuclear, vector.isBindable else { return (true, "an environment may not bind it") }
    guard gate.stack == vector.stackSlot else {
      return (true, "stack \(gate.stack) is not that of its class")
    }
    if gate.selector == EXO_USER_CS {
      return (true, gate.target < UInt64(EXO_USER_LIMIT) ? nil : "handler at \(hexadecimal(gate.target))")
    }
    guard gate.selector == EXO_NUCLEUS_CS, vector == .pageFault,
      gate.target == exo_nucleus_text + UInt64(EXO_NUCLEUS_PF_ADDRESS_STUB)
    else { return (true, "selector \(hexadecimal(gate.selector)), target \(hexadecimal(gate.target))") }
    // The stub returns to the handler by this frame.
    let frame = domain.shell.tables.data.address.value + UInt64(EXO_NUCLEUS_RETURN_OFFSET)
    let words = (0..<5).map { memory.load(PhysicalAddress(frame + UInt64($0) * 8)) }
    let top = domain.exceptionStacks[vector.stackSlot]?.top.value ?? 0
    let isSound =
      words[0] < UInt64(EXO_USER_LIMIT)
      && words[1...] == [UInt64(EXO_USER_CS), 0x202, top &- 56, UInt64(EXO_USER_SS)]
    return (true, isSound ? nil : "returns to \(words.map(hexadecimal))")
  }

  /// The push range: mapped writable, in frames that the environment owns and that are pinned.
  private func checkStack(
    _ stack: ExceptionStack, _ slot: Int, of domain: Domain, _ id: EnvironmentID, _ wrong: inout [String]
  ) {
    let name = "\(id), exception stack \(slot) at \(stack.top)"
    if stack.vectors.isEmpty { wrong.append("\(name): no vector uses it") }
    if stack.top.value & 15 != 0 || stack.top.value > exo_kit_start { wrong.append("\(name): out of place") }
    let programmed = interruptStack(slot, of: domain)
    if programmed != stack.top.value {
      wrong.append("\(name): the hardware is told \(hexadecimal(programmed))")
    }
    for page in stack.pushed {
      let entry = domain.shell.space.entry(of: page, in: memory)
      guard entry.rights.contains(.write), let frame = frame(at: entry.address),
        frames.owner(of: frame) == id, domain.pinned[page] != nil
      else {
        wrong.append("\(name): \(page) is not its own writable page")
        continue
      }
    }
    let known = (0..<stack.pageCount).map { stack.pages.advanced(byPages: $0) }
    if known != stack.pushed { wrong.append("\(name): covers \(known)") }
  }

  private func interruptStack(_ slot: Int, of domain: Domain) -> UInt64 {
    let base =
      domain.shell.tables.data.address.value + UInt64(EXO_NUCLEUS_TSS_OFFSET) + 0x24 + 8 * UInt64(slot - 1)
    return UInt64(memory.load32(PhysicalAddress(base))) | UInt64(memory.load32(PhysicalAddress(base + 4)))
      << 32
  }

  /// Segments, the nucleus's own stacks, no ports.
  private func checkNucleusData(of domain: Domain, _ id: EnvironmentID, _ wrong: inout [String]) {
    let data = domain.shell.tables.data.address.value
    let task = exo_nucleus_data + UInt64(EXO_NUCLEUS_TSS_OFFSET)
    let segments: [Int32: UInt64] = [
      EXO_NUCLEUS_CS: 0x00af_9b00_0000_ffff, EXO_NUCLEUS_SS: 0x00cf_9300_0000_ffff,
      EXO_USER_SS & ~3: 0x00cf_f300_0000_ffff, EXO_USER_CS & ~3: 0x00af_fb00_0000_ffff,
      EXO_ABSENT_SELECTOR & ~3: 0x00cf_7300_0000_ffff,
      EXO_TSS_SELECTOR: 0x0000_8900_0000_0067 | (task & 0xff_ffff) << 16 | (task >> 24 & 0xff) << 56,
      EXO_TSS_SELECTOR + 8: task >> 32,
    ]
    for selector in stride(from: Int32(0), to: EXO_NUCLEUS_TSS_OFFSET, by: 8) {
      let word = memory.load(PhysicalAddress(data + UInt64(EXO_NUCLEUS_GDT_OFFSET) + UInt64(selector)))
      // The processor marks the task segment busy and segments accessed.
      let ignored: UInt64 = selector == EXO_TSS_SELECTOR ? 1 << 41 : 0
      if word & ~ignored != segments[selector] ?? 0 {
        wrong.append("\(id): segment \(hexadecimal(selector)) is \(hexadecimal(word))")
      }
    }
    let stacks = mechanisms.kind == .native ? exo_nucleus_stacks : exo_kit_trap
    for (slot, top) in [
      (EXO_IST_NUCLEUS, stacks + UInt64(EXO_TRAP_NUCLEUS_TOP)),
      (EXO_IST_DOUBLE_FAULT, stacks + UInt64(EXO_TRAP_DOUBLE_FAULT_TOP)),
      (EXO_IST_TRANSFER, exo_nucleus_transfer + UInt64(EXO_TRANSFER_FRAME_TOP)),
    ] where interruptStack(Int(slot), of: domain) != top {
      wrong.append("\(id): the nucleus's stack \(slot) is moved")
    }
    let ports = memory.load32(PhysicalAddress(data + UInt64(EXO_NUCLEUS_TSS_OFFSET) + 0x64)) >> 16
    if ports < 0x68 { wrong.append("\(id): the task segment has a port map") }
  }
}
