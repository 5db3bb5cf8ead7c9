import CKVM
import ExoABI

/// What is known of the exception that ended an environment.
public struct FaultReport: Hashable, Sendable {
  public let vector: ExceptionVector
  /// The hardware's error code, 0 for vectors without one.
  public let errorCode: UInt64
  /// The address that was touched, for a page fault.
  public let address: GuestAddress?
  public let registers: Registers
  /// Up to 16 bytes at the instruction pointer, as far as they are readable.
  public let code: [UInt8]
  /// Return addresses by frame pointers, innermost first, the instruction pointer not included.
  public let backtrace: [GuestAddress]

  public struct Registers: Hashable, Sendable {
    public var rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp: UInt64
    public var r8, r9, r10, r11, r12, r13, r14, r15: UInt64
    public var rip, rflags, cs, ss: UInt64

    /// Names and values in the customary order.
    public var named: [(name: String, value: UInt64)] {
      [
        ("rax", rax), ("rbx", rbx), ("rcx", rcx), ("rdx", rdx), ("rsi", rsi), ("rdi", rdi), ("rbp", rbp),
        ("rsp", rsp), ("r8", r8), ("r9", r9), ("r10", r10), ("r11", r11), ("r12", r12), ("r13", r13),
        ("r14", r14), ("r15", r15), ("rip", rip), ("rflags", rflags), ("cs", cs), ("ss", ss),
      ]
    }
  }

  /// The page fault's error code in words (Intel SDM 3A 4.7).
  public var accessDescription: String? {
    guard vector == .pageFault else { return nil }
    let what = errorCode & 16 != 0 ? "instruction fetch" : errorCode & 2 != 0 ? "write" : "read"
    let why =
      errorCode & 8 != 0
      ? "malformed page table"
      : errorCode & UInt64(EXO_FAULT_KEY) != 0
        ? "forbidden by a protection key" : errorCode & 1 != 0 ? "no right" : "nothing mapped"
    return "\(what), \(why)"
  }
}

extension FaultReport {
  /// At most this many frames of a backtrace: a chain of frame pointers that the environment forged ends here.
  static let backtraceLimit = 64

  /// Reads the frame that the hardware pushed below `stackTop` of the trap page and what the registers lead to.
  ///
  /// The environment can write its trap page, so it can lie in its own report; to nobody else.
  init(
    vector: ExceptionVector, general: kvm_regs, system: kvm_sregs, trap: Frame, stackTop: Int,
    space: AddressSpace, memory: PhysicalMemory
  ) {
    func pushed(_ word: Int) -> UInt64 {
      memory.load(PhysicalAddress(trap.address.value + UInt64(stackTop - word * 8)))
    }
    // SS, RSP, RFLAGS, CS, RIP, error code, downwards from the top.
    let rip = GuestAddress(pushed(5))
    self.vector = vector
    errorCode = vector.hasErrorCode ? pushed(6) : 0
    address = vector == .pageFault ? GuestAddress(system.cr2) : nil
    registers = Registers(
      rax: general.rax, rbx: general.rbx, rcx: general.rcx, rdx: general.rdx, rsi: general.rsi,
      rdi: general.rdi, rbp: general.rbp, rsp: pushed(2), r8: general.r8, r9: general.r9,
      r10: general.r10, r11: general.r11, r12: general.r12, r13: general.r13, r14: general.r14,
      r15: general.r15, rip: rip.value, rflags: pushed(3), cs: pushed(4) & 0xffff, ss: pushed(1) & 0xffff)
    var code: [UInt8] = []
    for length in [16, 8, 4, 1] {
      if space.copyIn(rip, count: length, memory: memory, to: &code) { break }
    }
    self.code = code
    backtrace = Self.walk(from: general.rbp, space: space, memory: memory)
  }

  private static func walk(from start: UInt64, space: AddressSpace, memory: PhysicalMemory) -> [GuestAddress]
  {
    var frames: [GuestAddress] = []
    var pointer = start
    while frames.count < backtraceLimit, pointer != 0, pointer & 7 == 0 {
      var bytes: [UInt8] = []
      guard space.copyIn(GuestAddress(pointer), count: 16, memory: memory, to: &bytes) else { break }
      func word(_ at: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64($1 * 8) } }
      let (next, back) = (word(0), word(8))
      guard back != 0 else { break }
      frames.append(GuestAddress(back))
      // Frames grow upwards; anything else is a loop or a forgery.
      guard next > pointer else { break }
      pointer = next
    }
    return frames
  }
}
