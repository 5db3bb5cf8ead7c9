import ExoABI
import Nucleus
import Testing

/// The only guest code that is trusted: every byte of it is decoded here.
@Suite struct NucleusCodeTests {
  private static let code = Array(
    UnsafeBufferPointer(start: exo_nucleus_bytes(), count: Int(exo_nucleus_size())))
  private static let stubs = Int(EXO_VECTOR_COUNT * EXO_NUCLEUS_STUB_SIZE)

  enum Instruction: Equatable {
    case out(port: UInt8)
    case pushRAX, moveCR2ToRAX, exchangeRAXAtRSP
    case loadRSP(UInt64)
    case interruptReturn
    case maskEAX(UInt32)
    case loadRAXFrom(UInt32)
    case loadRAXAt(UInt32)
    case moveRAXToCR3
    case pushRCX, pushRDX, popRAX, popRCX, popRDX, clearECX, clearEDX, writeKeys
    case readClock, moveEAXToESI, nop
    case padding
    // SYSCALL. Jumps are by their target's offset.
    case compareRAX(Int8)
    case moveRAX(Int32)
    case clearEAX
    case jump(Condition, to: Int)
    case storeRSP(at: UInt64)
    case addressToRSP(UInt64)
    case moveRSIToRAX, exclusiveOrRDXIntoRSI
    case loadR8(UInt64)
    case testR8RSI
    case testBitOfRAX(UInt8)
    case testDL(UInt8)
    case moveRAXToR9
    case shiftR9Left(UInt8)
    case orRDXIntoR9
    case shiftRDILeft(UInt8)
    case shiftRDIRight(UInt8)
    case exchangeEntry, invalidatePage, systemReturn
  }
  enum Condition: UInt8 {
    case carry = 0x72
    case noCarry, equal, notEqual
    case notNegative = 0x79
    case less = 0x7c
  }

  /// The encodings that occur; anything else is nil.
  private static func decode(_ at: Int) -> (Instruction, length: Int)? {
    func matches(_ bytes: [UInt8]) -> Bool { code[at...].starts(with: bytes) }
    if matches([0xe6]), at + 1 < code.count { return (.out(port: code[at + 1]), 2) }
    if matches([0x50]) { return (.pushRAX, 1) }
    if matches([0x51]) { return (.pushRCX, 1) }
    if matches([0x52]) { return (.pushRDX, 1) }
    if matches([0x58]) { return (.popRAX, 1) }
    if matches([0x59]) { return (.popRCX, 1) }
    if matches([0x5a]) { return (.popRDX, 1) }
    if matches([0x31, 0xc9]) { return (.clearECX, 2) }
    if matches([0x31, 0xd2]) { return (.clearEDX, 2) }
    if matches([0x0f, 0x01, 0xef]) { return (.writeKeys, 3) }
    if matches([0x0f, 0x20, 0xd0]) { return (.moveCR2ToRAX, 3) }
    if matches([0x48, 0x87, 0x04, 0x24]) { return (.exchangeRAXAtRSP, 4) }
    if matches([0x48, 0xbc]), at + 10 <= code.count {
      let value = (0..<8).reduce(UInt64(0)) { $0 | UInt64(code[at + 2 + $1]) << UInt64(8 * $1) }
      return (.loadRSP(value), 10)
    }
    func word(_ offset: Int) -> UInt32 {
      (0..<4).reduce(UInt32(0)) { $0 | UInt32(code[at + offset + $1]) << UInt32(8 * $1) }
    }
    if matches([0x25]) { return (.maskEAX(word(1)), 5) }
    if matches([0x48, 0x8b, 0x04, 0x25]) { return (.loadRAXAt(word(4)), 8) }
    if matches([0x48, 0x8b, 0x80]) { return (.loadRAXFrom(word(3)), 7) }
    if matches([0x0f, 0x22, 0xd8]) { return (.moveRAXToCR3, 3) }
    if matches([0x48, 0xcf]) { return (.interruptReturn, 2) }
    if matches([0x0f, 0x31]) { return (.readClock, 2) }
    if matches([0x89, 0xc6]) { return (.moveEAXToESI, 2) }
    if matches([0x90]) { return (.nop, 1) }
    if matches([0xcc]) { return (.padding, 1) }
    return decodeSystemCall(at)
  }

  private static func decodeSystemCall(_ at: Int) -> (Instruction, length: Int)? {
    func matches(_ bytes: [UInt8]) -> Bool { code[at...].starts(with: bytes) }
    func little(_ offset: Int, _ count: Int) -> UInt64 {
      (0..<count).reduce(UInt64(0)) { $0 | UInt64(code[at + offset + $1]) << UInt64(8 * $1) }
    }
    /// What an operand relative to the next instruction refers to.
    func relative(_ length: Int) -> UInt64 {
      let distance = Int64(Int32(truncatingIfNeeded: little(length - 4, 4)))
      return exo_nucleus_text &+ UInt64(at + length) &+ UInt64(bitPattern: distance)
    }
    guard at + 12 <= code.count else { return nil }
    if let condition = Condition(rawValue: code[at]) {
      return (.jump(condition, to: at + 2 + Int(Int8(bitPattern: code[at + 1]))), 2)
    }
    let plain: [(bytes: [UInt8], Instruction)] = [
      ([0x31, 0xc0], .clearEAX), ([0x48, 0x89, 0xf0], .moveRSIToRAX),
      ([0x48, 0x31, 0xd6], .exclusiveOrRDXIntoRSI), ([0x4c, 0x85, 0xc6], .testR8RSI),
      ([0x49, 0x89, 0xc1], .moveRAXToR9), ([0x49, 0x09, 0xd1], .orRDXIntoR9),
      ([0xf0, 0x49, 0x0f, 0xb1, 0x14, 0xf8], .exchangeEntry), ([0x0f, 0x01, 0x3f], .invalidatePage),
      ([0x48, 0x0f, 0x07], .systemReturn),
    ]
    for (bytes, instruction) in plain where matches(bytes) { return (instruction, bytes.count) }
    if matches([0x48, 0x83, 0xf8]) { return (.compareRAX(Int8(bitPattern: code[at + 3])), 4) }
    if matches([0x48, 0xc7, 0xc0]) { return (.moveRAX(Int32(truncatingIfNeeded: little(3, 4))), 7) }
    if matches([0x48, 0x89, 0x25]) { return (.storeRSP(at: relative(7)), 7) }
    if matches([0x48, 0x8d, 0x25]) { return (.addressToRSP(relative(7)), 7) }
    if matches([0x49, 0xb8]) { return (.loadR8(little(2, 8)), 10) }
    if matches([0x48, 0x0f, 0xba, 0xe0]) { return (.testBitOfRAX(code[at + 4]), 5) }
    if matches([0xf6, 0xc2]) { return (.testDL(code[at + 2]), 3) }
    if matches([0x49, 0xc1, 0xe1]) { return (.shiftR9Left(code[at + 3]), 4) }
    if matches([0x48, 0xc1, 0xe7]) { return (.shiftRDILeft(code[at + 3]), 4) }
    if matches([0x48, 0xc1, 0xef]) { return (.shiftRDIRight(code[at + 3]), 4) }
    return nil
  }

  /// The instructions from an offset to the first padding byte or the end.
  private static func instructions(at start: Int32) -> [Instruction] {
    var found: [Instruction] = []
    var at = Int(start)
    while at < code.count {
      guard let (instruction, length) = decode(at) else {
        Issue.record("unknown bytes at \(at): \(code[at...].prefix(8))")
        return found
      }
      if instruction == .padding { break }
      found.append(instruction)
      at += length
    }
    return found
  }

  private static let end = Instruction.out(port: UInt8(EXO_NUCLEUS_PORT))

  @Test func fitsOnePage() {
    #expect(Self.code.count <= Int(EXO_PAGE_SIZE))
    #expect(Self.code.count > Int(EXO_NUCLEUS_PROBE_STUB))
  }

  @Test func eachVectorHasItsStub() {
    for vector in 0..<EXO_VECTOR_COUNT {
      #expect(Self.instructions(at: vector * EXO_NUCLEUS_STUB_SIZE) == [Self.end], "vector \(vector)")
    }
    #expect(exo_nucleus_count_default == 1)
  }

  @Test func pageFaultStub() {
    let expected: [Instruction] = [
      .pushRAX, .moveCR2ToRAX, .exchangeRAXAtRSP,
      .loadRSP(exo_nucleus_data + UInt64(EXO_NUCLEUS_RETURN_OFFSET)), .interruptReturn,
    ]
    #expect(Self.instructions(at: EXO_NUCLEUS_PF_ADDRESS_STUB) == expected)
    #expect(exo_nucleus_count_pf_address == UInt32(expected.count))
    #expect(exo_nucleus_count_pf_address <= 8)
  }

  /// Where SYSCALL leads: every instruction, and what the assembler counted of it.
  @Test func systemCallStub() {
    let found = Self.instructions(at: EXO_NUCLEUS_SYSCALL_STUB)
    guard found.count == 40 else {
      Issue.record("\(found.count) instructions: \(found)")
      return
    }
    func isJump(_ index: Int, _ condition: Condition, to target: Int) {
      // Offsets follow from the lengths; what counts is which instruction it is.
      guard case .jump(condition, let offset) = found[index] else {
        Issue.record("instruction \(index) is \(found[index])")
        return
      }
      #expect(Self.instructions(at: Int32(offset)) == Array(found[target...]), "jump \(index)")
    }
    let (protect, refuse, other) = (6, 32, 34)
    #expect(found[0] == .compareRAX(Int8(EXO_NUCLEUS_CALL_PROTECT)))
    isJump(1, .equal, to: protect)
    isJump(2, .less, to: other)
    #expect(
      found[3...5] == [
        .storeRSP(at: exo_nucleus_scratch),
        .addressToRSP(exo_nucleus_idt + UInt64(EXO_NUCLEUS_UPCALL_OFFSET)), .interruptReturn,
      ])
    #expect(
      found[6...9] == [.moveRSIToRAX, .exclusiveOrRDXIntoRSI, .loadR8(~(1 << 63 | 3)), .testR8RSI])
    isJump(10, .notEqual, to: refuse)
    #expect(found[11] == .testBitOfRAX(52))
    #expect(EXO_PTE_PINNED == 1 << 52)
    isJump(12, .carry, to: refuse)
    #expect(found[13] == .testBitOfRAX(9))
    #expect(EXO_PTE_GRANTED_READ == 1 << 9)
    isJump(14, .noCarry, to: refuse)
    // Granted execution, moved to where no-execute is.
    #expect(found[15...17] == [.moveRAXToR9, .shiftR9Left(52), .orRDXIntoR9])
    #expect(EXO_PTE_GRANTED_EXECUTE << 52 == 1 << 63)
    isJump(18, .notNegative, to: refuse)
    #expect(found[19] == .testDL(2))
    isJump(20, .equal, to: 25)
    #expect(found[21] == .testBitOfRAX(10))
    #expect(EXO_PTE_GRANTED_WRITE == 1 << 10)
    isJump(22, .noCarry, to: refuse)
    #expect(found[23] == .testDL(1))
    isJump(24, .equal, to: refuse)
    #expect(
      found[25...31] == [
        .shiftRDILeft(16), .shiftRDIRight(28), .loadR8(exo_nucleus_tables), .exchangeEntry, .shiftRDILeft(12),
        .invalidatePage, .systemReturn,
      ])
    #expect(found[32...33] == [.clearEAX, .systemReturn])
    #expect(found[34] == .compareRAX(Int8(EXO_NUCLEUS_CALL_NULL)))
    isJump(35, .notEqual, to: 38)
    #expect(found[36...37] == [.clearEAX, .systemReturn])
    #expect(found[38...39] == [.moveRAX(-EXO_ENOSYS), .systemReturn])
  }

  /// How many ring-0 instructions each way through it takes.
  @Test func systemCallCounts() {
    #expect(exo_nucleus_count_upcall == 6)
    #expect(exo_nucleus_count_protect == 28)
    #expect(exo_nucleus_count_null == 7)
    #expect(EXO_NUCLEUS_SYSCALL_STUB + EXO_NUCLEUS_SYSCALL_SIZE <= EXO_NUCLEUS_PROBE_STUB)
  }

  @Test func noEntryStub() {
    #expect(Self.instructions(at: EXO_NUCLEUS_NO_ENTRY_STUB) == [Self.end])
  }

  /// The number is cut to a slot of the page before anything is read by it.
  @Test func transferStub() {
    let page = UInt32(truncatingIfNeeded: exo_nucleus_transfer)
    #expect(exo_nucleus_transfer == UInt64(bitPattern: Int64(Int32(bitPattern: page))))
    let mask = UInt32((EXO_CONNECTIONS - 1) * EXO_TRANSFER_SLOT_SIZE)
    #expect(mask + 8 <= UInt32(EXO_TRANSFER_FRAME_TOP - EXO_TRANSFER_FRAME_SIZE))
    let expected: [Instruction] = [
      .maskEAX(mask), .loadRAXFrom(page), .moveRAXToCR3, .interruptReturn,
    ]
    #expect(Self.instructions(at: EXO_NUCLEUS_TRANSFER_STUB) == expected)
    // Aegis: 30 (SOSP 1995, section 5.5).
    #expect(exo_nucleus_count_transfer == UInt32(expected.count))
    // Of its only connection an environment need not say the number.
    let only = page + UInt32(EXO_TRANSFER_ALONE_OFFSET)
    #expect(
      Self.instructions(at: EXO_NUCLEUS_TRANSFER_ALONE_STUB) == [
        .loadRAXAt(only), .moveRAXToCR3, .interruptReturn,
      ])
    #expect(exo_nucleus_count_transfer_alone == 3)
    // PKRU becomes 0, and three registers stay what they were.
    let forgetting: [Instruction] = [
      .pushRCX, .pushRDX, .pushRAX, .clearEAX, .clearECX, .clearEDX, .writeKeys, .popRAX, .popRDX, .popRCX,
    ]
    #expect(Self.instructions(at: EXO_NUCLEUS_TRANSFER_KEYS_STUB) == forgetting + expected)
    #expect(exo_nucleus_count_transfer_keys == UInt32(forgetting.count + expected.count))
    #expect(exo_nucleus_count_transfer_keys <= 30)
  }

  @Test func probeStub() {
    var expected: [Instruction] = [.readClock, .moveEAXToESI]
    expected += Array(repeating: .nop, count: 32)
    expected += [.readClock, Self.end]
    #expect(Self.instructions(at: EXO_NUCLEUS_PROBE_STUB) == expected)
  }

  /// The stubs are all there is: what lies between them is int3.
  @Test func nothingElse() {
    var offset = 0
    var count = 0
    while offset < Self.code.count {
      guard let (instruction, length) = Self.decode(offset) else {
        Issue.record("unknown bytes at \(offset)")
        return
      }
      if instruction != .padding { count += 1 }
      offset += length
    }
    let probe = 36
    #expect(UInt32(count - probe) == exo_nucleus_count_total)
    #expect(count < 150)
  }

  @Test func stubsDoNotOverlap() {
    let starts = [
      0, Self.stubs, Int(EXO_NUCLEUS_PF_ADDRESS_STUB), Int(EXO_NUCLEUS_NO_ENTRY_STUB),
      Int(EXO_NUCLEUS_SYSCALL_STUB), Int(EXO_NUCLEUS_PROBE_STUB), Int(EXO_NUCLEUS_TRANSFER_KEYS_STUB),
      Int(EXO_NUCLEUS_TRANSFER_STUB), Int(EXO_NUCLEUS_TRANSFER_ALONE_STUB),
    ]
    #expect(starts == starts.sorted())
    #expect(EXO_NUCLEUS_STUB_SIZE == 16)
  }
}
