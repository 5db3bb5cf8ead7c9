import ExoABI

/// Machine code for a guest, written an instruction at a time: what a test wants done is too small, or too odd, for a
/// compiler. R10 and R11 are the assembler's own.
struct Assembly {
  enum Register: UInt8, CaseIterable {
    case rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    fileprivate var low: UInt8 { rawValue & 7 }
    fileprivate var isHigh: Bool { rawValue >= 8 }
  }

  /// Where code and data lie in every program of these tests.
  static let codeBase: UInt64 = 0x40_0000
  static let dataBase: UInt64 = 0x50_0000

  private(set) var bytes: [UInt8] = []
  /// The number of the newest submission.
  private(set) var submitted: UInt32 = 0

  init() {}
  init(_ build: (inout Assembly) -> Void) { build(&self) }

  /// The address of the next instruction.
  var here: UInt64 { Self.codeBase + UInt64(bytes.count) }

  mutating func raw(_ code: UInt8...) { bytes += code }
  mutating func raw(_ code: [UInt8]) { bytes += code }

  static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<(T.bitWidth / 8)).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
  }

  // --- moves

  /// `movabs $value, register`
  mutating func set(_ register: Register, _ value: UInt64) {
    bytes += [register.isHigh ? 0x49 : 0x48, 0xb8 | register.low] + Self.little(value)
  }
  /// `mov from, to`
  mutating func move(_ from: Register, to: Register) {
    bytes += [0x48 | (from.isHigh ? 4 : 0) | (to.isHigh ? 1 : 0), 0x89, 0xc0 | from.low << 3 | to.low]
  }
  /// `mov register, (R11)`, 8 bytes.
  private mutating func storeAtR11(_ register: Register) {
    bytes += [0x49 | (register.isHigh ? 4 : 0), 0x89, register.low << 3 | 3]
  }
  mutating func store(_ register: Register, at address: UInt64) {
    set(.r11, address)
    storeAtR11(register)
  }
  mutating func store64(_ value: UInt64, at address: UInt64) {
    set(.r10, value)
    store(.r10, at: address)
  }
  mutating func store32(_ value: UInt32, at address: UInt64) {
    set(.r11, address)
    bytes += [0x41, 0xc7, 0x03] + Self.little(value)
  }
  mutating func store16(_ value: UInt16, at address: UInt64) {
    set(.r11, address)
    bytes += [0x66, 0x41, 0xc7, 0x03] + Self.little(value)
  }
  mutating func store8(_ value: UInt8, at address: UInt64) {
    set(.r11, address)
    bytes += [0x41, 0xc6, 0x03, value]
  }
  mutating func load(_ register: Register, at address: UInt64) {
    set(.r11, address)
    bytes += [0x49 | (register.isHigh ? 4 : 0), 0x8b, register.low << 3 | 3]
  }
  /// `call *address`
  mutating func call(_ address: UInt64) {
    set(.r11, address)
    raw(0x41, 0xff, 0xd3)
  }
  /// `jmp *address`
  mutating func jump(_ address: UInt64) {
    set(.r11, address)
    raw(0x41, 0xff, 0xe3)
  }

  // --- control

  mutating func forever() { raw(0xeb, 0xfe) }
  /// Repeats `body` until RAX, 64 bits, equals `value` after it.
  mutating func repeatUntil(raxIs value: UInt64, _ body: (inout Assembly) -> Void) {
    let start = bytes.count
    body(&self)
    set(.r11, value)
    raw(0x4c, 0x39, 0xd8)  // cmp %r11, %rax
    bytes += [0x0f, 0x85] + Self.little(Int32(start - (bytes.count + 6)))  // jne
  }
  /// Skips `body` if RAX is 0.
  mutating func unlessRAXIsZero(_ body: (inout Assembly) -> Void) {
    raw(0x48, 0x85, 0xc0)  // test %rax, %rax
    raw(0x0f, 0x84, 0, 0, 0, 0)  // je
    let start = bytes.count
    body(&self)
    bytes.replaceSubrange(start - 4..<start, with: Self.little(Int32(bytes.count - start)))
  }

  // --- exocalls

  enum Argument: ExpressibleByIntegerLiteral {
    case value(UInt64)
    case register(Register)
    init(integerLiteral value: UInt64) { self = .value(value) }
  }

  /// The next submission, up to but without its number.
  mutating func fill(_ call: exo_call, _ arguments: [Argument] = [], consumed: UInt32? = nil) {
    submitted += 1
    let slot = Self.slot(exo_kit_submission, submitted)
    store64(UInt64(submitted), at: slot)
    for (index, argument) in arguments.enumerated() {
      switch argument {
      case .value(let value): store64(value, at: slot + 8 + UInt64(index) * 8)
      case .register(let register): store(register, at: slot + 8 + UInt64(index) * 8)
      }
    }
    for index in arguments.count..<5 { store64(0, at: slot + 8 + UInt64(index) * 8) }
    store32(call.rawValue, at: slot + 48)
    store32(consumed ?? submitted - 1, at: slot + 56)
  }
  mutating func publish() {
    store32(submitted, at: Self.slot(exo_kit_submission, submitted) + 60)
  }
  mutating func ring(_ offset: Int32, _ value: UInt32 = 1) {
    store32(value, at: exo_kit_doorbell + UInt64(offset))
  }
  static func slot(_ ring: UInt64, _ number: UInt32) -> UInt64 { ring + UInt64((number - 1) % 64) * 64 }

  /// Makes a call, has it served and waits for its answer: the result is in RAX, the values in RDX and RCX.
  mutating func exocall(_ call: exo_call, _ arguments: Argument...) {
    exocall(call, arguments)
  }
  mutating func exocall(_ call: exo_call, _ arguments: [Argument]) {
    fill(call, arguments)
    publish()
    ring(EXO_DOORBELL_SERVE)
    awaitAnswer()
  }
  /// Waits for the answer to the newest submission.
  mutating func awaitAnswer() {
    let slot = Self.slot(exo_kit_completion, submitted)
    repeatUntil(raxIs: UInt64(submitted)) {
      $0.raw(0xf3, 0x90)  // pause
      $0.load(.rax, at: slot + 56)
      $0.raw(0x48, 0xc1, 0xe8, 32)  // shr $32, %rax
    }
    load(.rdx, at: slot + 16)
    load(.rcx, at: slot + 24)
    load(.rax, at: slot + 8)
  }

  /// The same asleep, as an environment with nothing else to do waits.
  mutating func sleepForAnswer() {
    let number = submitted
    let slot = Self.slot(exo_kit_completion, number)
    repeatUntil(raxIs: UInt64(number)) {
      $0.ring(EXO_DOORBELL_WAIT, number)
      $0.load(.rax, at: slot + 56)
      $0.raw(0x48, 0xc1, 0xe8, 32)  // shr $32, %rax
    }
    load(.rdx, at: slot + 16)
    load(.rcx, at: slot + 24)
    load(.rax, at: slot + 8)
  }

  /// Fills memory with a word: `rep stosq`.
  mutating func fill(_ address: UInt64, words: UInt64, with value: UInt64) {
    set(.rdi, address)
    set(.rcx, words)
    set(.rax, value)
    raw(0xf3, 0x48, 0xab)
  }
  /// RAX becomes 0 if all words are 0, else 1: `repe scasq`.
  mutating func isAnyNonzero(_ address: UInt64, words: UInt64) {
    set(.rdi, address)
    set(.rcx, words)
    raw(0x31, 0xc0, 0xf3, 0x48, 0xaf)  // xor %eax, %eax; repe scasq
    raw(0x0f, 0x95, 0xc0, 0x0f, 0xb6, 0xc0)  // setne %al; movzbl %al, %eax
  }

  /// Ends the environment.
  mutating func exit(_ status: Argument = 0) {
    // In a branch not taken it must not count.
    let before = submitted
    fill(EXO_CALL_exit, [status])
    publish()
    ring(EXO_DOORBELL_SERVE)
    forever()
    submitted = before
  }
  /// Ends the environment unless RAX is 0, with its low byte: a refusal shows as 256 less its errno.
  mutating func exitUnlessZero() {
    unlessRAXIsZero { $0.exit(.register(.rax)) }
  }
  /// Writes memory to the console.
  mutating func write(_ address: UInt64, _ count: UInt64) {
    exocall(EXO_CALL_console_write, .value(address), .value(count))
  }
}
