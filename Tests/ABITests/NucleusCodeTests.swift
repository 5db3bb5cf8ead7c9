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
    case readClock, moveEAXToESI, nop
    case padding
  }

  /// The encodings that occur; anything else is nil.
  private static func decode(_ at: Int) -> (Instruction, length: Int)? {
    func matches(_ bytes: [UInt8]) -> Bool { code[at...].starts(with: bytes) }
    if matches([0xe6]), at + 1 < code.count { return (.out(port: code[at + 1]), 2) }
    if matches([0x50]) { return (.pushRAX, 1) }
    if matches([0x0f, 0x20, 0xd0]) { return (.moveCR2ToRAX, 3) }
    if matches([0x48, 0x87, 0x04, 0x24]) { return (.exchangeRAXAtRSP, 4) }
    if matches([0x48, 0xbc]), at + 10 <= code.count {
      let value = (0..<8).reduce(UInt64(0)) { $0 | UInt64(code[at + 2 + $1]) << UInt64(8 * $1) }
      return (.loadRSP(value), 10)
    }
    if matches([0x48, 0xcf]) { return (.interruptReturn, 2) }
    if matches([0x0f, 0x31]) { return (.readClock, 2) }
    if matches([0x89, 0xc6]) { return (.moveEAXToESI, 2) }
    if matches([0x90]) { return (.nop, 1) }
    if matches([0xcc]) { return (.padding, 1) }
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

  @Test func systemCallStub() {
    #expect(Self.instructions(at: EXO_NUCLEUS_SYSCALL_STUB) == [Self.end])
    #expect(exo_nucleus_count_syscall == 1)
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
      0, Self.stubs, Int(EXO_NUCLEUS_PF_ADDRESS_STUB), Int(EXO_NUCLEUS_SYSCALL_STUB),
      Int(EXO_NUCLEUS_PROBE_STUB),
    ]
    #expect(starts == starts.sorted())
    #expect(EXO_NUCLEUS_STUB_SIZE == 16)
  }
}
