import CKVM
import ExoABI
import Glibc
import Synchronization

/// What brings one vCPU out of KVM_RUN from another thread.
@safe struct VCPUKicker: @unchecked Sendable {
  // Invariant: the run page stays mapped while a latch holds this kicker; `ExecutionLatch.setKicker(nil)` is called
  // by the owning thread before it unmaps.
  private let run: UnsafeMutablePointer<kvm_run>
  private let thread: CInt
  fileprivate init(run: UnsafeMutablePointer<kvm_run>, thread: CInt) {
    unsafe self.run = run
    self.thread = thread
  }
  func kick() {
    unsafe ckvm_set_immediate_exit(run, 1)
    _ = ckvm_kick_thread(thread)
  }
}

/// Why a vCPU came out of guest mode.
enum VCPUExit: Hashable, Sendable {
  /// A signal or `immediate_exit`.
  case interrupted
  case io(port: UInt16)
  case mmio(address: UInt64, value: UInt64, length: Int, isWrite: Bool)
  case halt
  case shutdown
  case internalError(UInt32)
  /// An exit that no environment should be able to cause.
  case other(UInt32)
}

/// The system registers an environment starts with that depend on the machine rather than on the environment.
struct ControlState: Hashable, Sendable {
  var cr0: UInt64
  var cr4: UInt64
  var efer: UInt64
  var xcr0: UInt64

  /// CR4.PKE: protection keys.
  static let keyEnable: UInt64 = 1 << 22
}

/// A virtual processor. Made, used and closed on one thread: moving it to another costs a grace period (SUBSTRATE).
@safe struct VCPU: ~Copyable {
  private let descriptor: Descriptor
  private let run: UnsafeMutablePointer<kvm_run>
  private let runSize: Int
  /// System registers as KVM made them, for the fields that are not Exo's to choose.
  private let pristine: kvm_sregs
  /// Its thread, to be signalled.
  private let thread = ckvm_thread_id()

  init(
    vm: borrowing Descriptor, id: Int32, runSize: Int, cpuid: [kvm_cpuid_entry2]
  ) throws(HostError) {
    let descriptor = Descriptor(try check("KVM_CREATE_VCPU", ckvm_create_vcpu(vm.number, id)))
    try check("KVM_SET_CPUID2", unsafe ckvm_set_cpuid(descriptor.number, cpuid, CInt(cpuid.count)))
    var pristine = kvm_sregs()
    try check("KVM_GET_SREGS", unsafe ckvm_get_system_registers(descriptor.number, &pristine))
    var error: CInt = 0
    guard let page = unsafe ckvm_map_run(descriptor.number, UInt64(runSize), &error) else {
      throw HostError("mmap of the run page", -error)
    }
    unsafe run = page
    self.runSize = runSize
    self.pristine = pristine
    self.descriptor = descriptor
    // General and system registers are copied into the run page at each exit: two calls fewer when one matters.
    unsafe ckvm_sync_valid(run, 3)
  }

  deinit { _ = unsafe ckvm_unmap(run, UInt64(runSize)) }

  var kicker: VCPUKicker { unsafe VCPUKicker(run: run, thread: thread) }

  // --- setting up

  /// Puts the vCPU at ring 3 in 64-bit mode, in the given address space, with every register an environment could have
  /// left behind set to a known value. KVM takes them over at the next entry, which saves three calls.
  func reset(root: PhysicalAddress, at point: EntryPoint, control: ControlState, ring: Int = 3) {
    var system = pristine
    system.cs = Self.segment(ring == 3 ? EXO_USER_CS : EXO_NUCLEUS_CS, type: 11, ring: ring, long: true)
    system.ss = Self.segment(ring == 3 ? EXO_USER_SS : EXO_NUCLEUS_SS, type: 3, ring: ring, long: false)
    let data = Self.segment(EXO_USER_SS, type: 3, ring: 3, long: false)
    system.ds = data
    system.es = data
    system.fs = data
    system.gs = data
    var task = kvm_segment()
    task.selector = UInt16(EXO_TSS_SELECTOR)
    task.base = UInt64(exo_nucleus_data) + UInt64(EXO_NUCLEUS_TSS_OFFSET)
    task.limit = 0x67
    task.type = 11
    task.present = 1
    system.tr = task
    var none = kvm_segment()
    none.unusable = 1
    system.ldt = none
    system.gdt.base = UInt64(exo_nucleus_data) + UInt64(EXO_NUCLEUS_GDT_OFFSET)
    system.gdt.limit = UInt16(EXO_ABSENT_SELECTOR | 7)
    system.idt.base = UInt64(exo_nucleus_idt)
    system.idt.limit = UInt16(EXO_VECTOR_COUNT * 16 - 1)
    system.cr0 = control.cr0
    system.cr2 = 0
    system.cr3 = root.value
    system.cr4 = control.cr4
    system.efer = control.efer
    system.cr8 = 0
    var general = kvm_regs()
    general.rip = point.entry.value
    general.rsp = point.stack.value
    general.rdi = exo_kit_start
    general.rsi = point.argument
    general.rax = point.badge
    general.rflags = ring == 3 ? 0x202 : 0x2
    unsafe ckvm_sync_registers(run).pointee = general
    unsafe ckvm_sync_system_registers(run).pointee = system
    unsafe ckvm_sync_dirty(run, 3)
  }

  /// Model-specific registers and XCR0. What enters ring 0 never does so at an address an environment can map.
  func setModelRegisters(xcr0: UInt64, systemCall: (entry: UInt64, mask: UInt64)) throws(HostError) {
    let none = UInt64(exo_nucleus_text) + UInt64(EXO_NUCLEUS_NO_ENTRY_STUB)
    let registers: [(index: UInt32, value: UInt64)] = [
      (0xc000_0081, 0x0023_0010 << 32),  // STAR
      (0xc000_0082, systemCall.entry), (0xc000_0083, none),  // LSTAR, CSTAR
      (0xc000_0084, systemCall.mask),  // FMASK
      (0x174, 0), (0x175, 0), (0x176, none),  // SYSENTER_CS, _ESP, _EIP
      (0xc000_0100, 0), (0xc000_0101, 0), (0xc000_0102, 0),  // FS, GS and kernel GS base
    ]
    try check(
      "KVM_SET_MSRS",
      unsafe ckvm_set_msrs(
        descriptor.number, registers.map(\.index), registers.map(\.value), CInt(registers.count)))
    if xcr0 != 0 { try check("KVM_SET_XCRS", ckvm_set_xcr0(descriptor.number, xcr0)) }
  }

  /// Where SYSCALL leads from the next entry on.
  func setSystemCall(_ registers: (entry: UInt64, mask: UInt64)) throws(HostError) {
    try check(
      "KVM_SET_MSRS",
      unsafe ckvm_set_msrs(
        descriptor.number, [0xc000_0082, 0xc000_0084], [registers.entry, registers.mask], 2))
  }

  /// Makes the guest's time-stamp counter the host's. Where KVM refuses, it is so already.
  func alignClock() { _ = ckvm_set_tsc_offset(descriptor.number, 0) }

  /// Completes what the last exit left half done, without entering the guest: KVM finishes a device read at the next
  /// entry, and puts what was read into registers or memory, by the page table that is at the root by then. So this comes
  /// before either is another's. False if there is no end to it.
  func settle() -> Bool {
    defer { unsafe ckvm_set_immediate_exit(run, 0) }
    // An access of 16 bytes, or across pages, has several parts.
    for _ in 0..<16 {
      unsafe ckvm_set_immediate_exit(run, 1)
      // A string instruction ends with this element.
      unsafe ckvm_sync_registers(run).pointee.rcx = 1
      unsafe ckvm_sync_dirty(run, 1)
      let result = ckvm_run(descriptor.number)
      if result == -EINTR { return true }
      if result < 0 { return false }
    }
    return false
  }

  /// Goes as far as the guest's door and back. The vCPU has settled.
  func warm() {
    unsafe ckvm_set_immediate_exit(run, 1)
    _ = ckvm_run(descriptor.number)
    unsafe ckvm_set_immediate_exit(run, 0)
  }

  /// Readies a used vCPU that has settled for another environment: vector, x87 and MXCSR state are as after reset, no
  /// event is pending and no debug register set.
  ///
  /// - Parameter withKeys: whether the processor has protection keys, so that PKRU too must be as after reset.
  func clearState(withKeys: Bool) throws(HostError) {
    var state = kvm_xsave()
    // x87 control word 0x037f in bytes 0..1, MXCSR 0x1f80 in bytes 24..27. XSTATE_BV names x87 and SSE, so that both are
    // loaded: with a 0 there hardware takes MXCSR from here all the same, an emulator may keep the old one. The other
    // components are initial.
    state.region.0 = 0x037f
    state.region.6 = 0x1f80
    state.region.128 = withKeys ? Self.keyComponent | 3 : 3
    try check("KVM_SET_XSAVE", unsafe ckvm_set_xsave(descriptor.number, &state))
    var events = kvm_vcpu_events()
    try check("KVM_SET_VCPU_EVENTS", unsafe ckvm_set_events(descriptor.number, &events))
    var debug = kvm_debugregs()
    debug.dr6 = 0xffff_0ff0
    debug.dr7 = 0x400
    try check("KVM_SET_DEBUGREGS", unsafe ckvm_set_debug_registers(descriptor.number, &debug))
  }

  // --- protection keys

  /// The component of XSAVE's format that holds PKRU. A KVM may take one that is named initial for one to be left alone, so its
  /// value is always given.
  private static let keyComponent: UInt32 = 1 << 9

  var hasKeys: Bool { systemRegisters.cr4 & ControlState.keyEnable != 0 }
  /// Makes WRPKRU an instruction from the next entry on.
  func switchKeysOn() {
    unsafe ckvm_sync_system_registers(run).pointee.cr4 |= ControlState.keyEnable
    unsafe ckvm_sync_dirty(run, 2)
  }
  /// PKRU as after reset: nothing is forbidden.
  func clearKeys(at offset: Int) throws(HostError) {
    var state = kvm_xsave()
    try check("KVM_GET_XSAVE", unsafe ckvm_get_xsave(descriptor.number, &state))
    state.region.128 |= Self.keyComponent
    // The processor says where in the area the component lies; KVM's structure is 4 KiB, which holds it.
    unsafe withUnsafeMutableBytes(of: &state) { bytes in
      guard offset >= 576, offset + 8 <= bytes.count else { return }
      unsafe bytes.storeBytes(of: 0, toByteOffset: offset, as: UInt64.self)
    }
    try check("KVM_SET_XSAVE", unsafe ckvm_set_xsave(descriptor.number, &state))
  }

  // --- parking

  /// What an environment can have changed, as of the last exit.
  func save() throws(HostError) -> ParkedContext {
    var vectors = [UInt64](repeating: 0, count: ParkedContext.areaWords)
    let result = unsafe vectors.withUnsafeMutableBytes {
      // As large as the area, and no less aligned.
      unsafe ckvm_get_xsave(descriptor.number, $0.assumingMemoryBound(to: kvm_xsave.self).baseAddress!)
    }
    try check("KVM_GET_XSAVE", result)
    // XSTATE_BV, at byte 512.
    if hasKeys { vectors[64] |= UInt64(Self.keyComponent) }
    return ParkedContext(general: registers, system: systemRegisters, vectors: vectors)
  }
  /// Puts a saved state on a vCPU that was reset.
  func restore(_ context: ParkedContext) throws(HostError) {
    var vectors = context.area
    let result = unsafe vectors.withUnsafeMutableBytes {
      unsafe ckvm_set_xsave(descriptor.number, $0.assumingMemoryBound(to: kvm_xsave.self).baseAddress!)
    }
    try check("KVM_SET_XSAVE", result)
    unsafe ckvm_sync_registers(run).pointee = context.general
    unsafe ckvm_sync_system_registers(run).pointee = context.system
    unsafe ckvm_sync_dirty(run, 3)
  }

  private static func segment(_ selector: Int32, type: UInt8, ring: Int, long: Bool) -> kvm_segment {
    var segment = kvm_segment()
    segment.selector = UInt16(selector)
    segment.limit = 0xffff_ffff
    segment.type = type
    segment.present = 1
    segment.dpl = UInt8(ring)
    segment.db = long ? 0 : 1
    segment.s = 1
    segment.l = long ? 1 : 0
    segment.g = 1
    return segment
  }

  // --- running

  /// Enters the guest until it exits. Clears a pending kick afterwards, so that it stops one entry only.
  func enter() throws(HostError) -> VCPUExit {
    let result = ckvm_run(descriptor.number)
    if result < 0 {
      unsafe ckvm_set_immediate_exit(run, 0)
      guard result == -EINTR || result == -EAGAIN else { throw HostError("KVM_RUN", result) }
      return .interrupted
    }
    switch Int32(unsafe ckvm_exit_reason(run)) {
    case KVM_EXIT_IO: return .io(port: unsafe ckvm_exit_port(run))
    case KVM_EXIT_MMIO:
      return .mmio(
        address: unsafe ckvm_exit_mmio_address(run), value: unsafe ckvm_exit_mmio_data(run),
        length: Int(unsafe ckvm_exit_mmio_length(run)), isWrite: unsafe ckvm_exit_mmio_is_write(run))
    case KVM_EXIT_HLT: return .halt
    case KVM_EXIT_SHUTDOWN: return .shutdown
    case KVM_EXIT_INTERNAL_ERROR: return .internalError(unsafe ckvm_exit_suberror(run))
    case KVM_EXIT_INTR: return .interrupted
    default: return .other(unsafe ckvm_exit_reason(run))
    }
  }

  /// General registers as of the last exit.
  var registers: kvm_regs { unsafe ckvm_sync_registers(run).pointee }
  /// System registers as of the last exit.
  var systemRegisters: kvm_sregs { unsafe ckvm_sync_system_registers(run).pointee }
  /// Which instruction of a stub for control transfer comes next; nil elsewhere.
  var transferStep: TransferStep? {
    guard unsafe ckvm_sync_system_registers(run).pointee.cs.selector & 3 == 0 else { return nil }
    return TransferStep(offset: Int64(bitPattern: registers.rip &- exo_nucleus_text))
  }
  /// The registers that the nucleus puts aside while it makes PKRU 0.
  func setTransferRegisters(rcx: UInt64, rdx: UInt64, rax: UInt64) {
    unsafe ckvm_sync_registers(run).pointee.rcx = rcx
    unsafe ckvm_sync_registers(run).pointee.rdx = rdx
    unsafe ckvm_sync_registers(run).pointee.rax = rax
    unsafe ckvm_sync_dirty(run, 1)
  }
  /// Has it go on at ring 3 in another address space, with RAX and what a frame says of RIP, RFLAGS and RSP. The hardware pushed
  /// the frame at ring 3.
  func finishTransfer(root: UInt64, rax: UInt64, frame: [UInt64]) {
    unsafe ckvm_sync_registers(run).pointee.rax = rax
    unsafe ckvm_sync_registers(run).pointee.rip = frame[0]
    unsafe ckvm_sync_registers(run).pointee.rflags = frame[2]
    unsafe ckvm_sync_registers(run).pointee.rsp = frame[3]
    unsafe ckvm_sync_system_registers(run).pointee.cr3 = root
    unsafe ckvm_sync_system_registers(run).pointee.cs = Self.segment(
      EXO_USER_CS, type: 11, ring: 3, long: true)
    unsafe ckvm_sync_system_registers(run).pointee.ss = Self.segment(
      EXO_USER_SS, type: 3, ring: 3, long: false)
    unsafe ckvm_sync_dirty(run, 3)
  }
  /// What the hardware would push for an interrupt now: RIP, CS, RFLAGS, RSP, SS. Nil in the nucleus, which is not to be
  /// interrupted.
  var interruptedFrame: [UInt64]? {
    let (general, system) = (registers, systemRegisters)
    guard system.cs.selector & 3 == 3 else { return nil }
    // A processor may leave a null SS behind a delivery through an interrupt stack; ring 3 could not return to one.
    let stack = system.ss.selector & ~3 == 0 ? UInt64(EXO_USER_SS) : UInt64(system.ss.selector)
    return [general.rip, UInt64(system.cs.selector), general.rflags, general.rsp, stack]
  }
  /// Has it go on at `handler` with `stack`, as an interrupt through a trap gate would.
  func divert(to handler: GuestAddress, stack: GuestAddress) {
    unsafe ckvm_sync_registers(run).pointee.rip = handler.value
    unsafe ckvm_sync_registers(run).pointee.rsp = stack.value
    // TF, NT and RF go; AC and the rest stay as the hardware leaves them.
    unsafe ckvm_sync_registers(run).pointee.rflags &= ~(1 << 8 | 1 << 14 | 1 << 16)
    unsafe ckvm_sync_dirty(run, 1)
  }
  func readTSCFrequency() -> Int? {
    let khz = ckvm_tsc_khz(descriptor.number)
    return khz > 0 ? Int(khz) : nil
  }
}
