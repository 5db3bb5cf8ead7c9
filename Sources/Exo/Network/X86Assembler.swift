/// The few x86-64 instructions that filters are made of, as bytes (Intel SDM 2), and labels for any code. Filters use only registers
/// that a C function may change:
///
///     rdi  the packet      rsi  its length     rdx  where offsets count from
///     rax  the best rank   r8   a field        r11  the protocol extension headers led to
///     rcx, r9, r10         anything
struct X86Assembler {
  private(set) var bytes: [UInt8] = []
  private var labels: [Int?] = []
  private var references: [(place: Int, label: Int)] = []

  struct Label { fileprivate let number: Int }
  /// Conditional jumps by their second opcode byte.
  enum Condition: UInt8 {
    case below = 0x82
    case above = 0x87
    case equal = 0x84
    case notEqual = 0x85
    case belowOrEqual = 0x86
    case negative = 0x88
  }

  mutating func label() -> Label {
    labels.append(nil)
    return Label(number: labels.count - 1)
  }
  mutating func place(_ label: Label) { labels[label.number] = bytes.count }

  mutating func emit(_ code: UInt8...) { bytes += code }
  mutating func word(_ value: UInt32) {
    for shift in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(shift * 8))) }
  }
  mutating func long(_ value: UInt64) {
    word(UInt32(truncatingIfNeeded: value))
    word(UInt32(truncatingIfNeeded: value >> 32))
  }

  mutating func jump(_ condition: Condition, _ label: Label) {
    emit(0x0f, condition.rawValue)
    refer(label)
  }
  mutating func jump(_ label: Label) {
    emit(0xe9)
    refer(label)
  }
  mutating func call(_ label: Label) {
    emit(0xe8)
    refer(label)
  }
  private mutating func refer(_ label: Label) {
    references.append((bytes.count, label.number))
    word(0)
  }
  mutating func ret() { emit(0xc3) }

  /// Fills in the jumps. Every label must have been placed.
  mutating func finish() -> [UInt8] {
    for (place, label) in references {
      guard let target = labels[label] else { preconditionFailure("a label without a place") }
      let distance = UInt32(bitPattern: Int32(target - (place + 4)))
      for shift in 0..<4 { bytes[place + shift] = UInt8(truncatingIfNeeded: distance >> UInt32(shift * 8)) }
    }
    return bytes
  }

  // --- fields

  /// Goes to `label` unless the packet has `end` bytes from where offsets count.
  mutating func requireLength(_ end: Int, fromStart: Bool, else label: Label) {
    if fromStart {
      emit(0x48, 0x81, 0xfe)  // cmp rsi, end
      word(UInt32(end))
      jump(.below, label)
    } else {
      emit(0x4c, 0x8d, 0x8a)  // lea r9, [rdx + end]
      word(UInt32(end))
      emit(0x49, 0x39, 0xf1)  // cmp r9, rsi
      jump(.above, label)
    }
  }
  /// r8d = the bytes at an offset, as they lie in memory.
  mutating func load(_ offset: Int, width: Int, fromStart: Bool) {
    emit(0x44)
    switch width {
    case 1: emit(0x0f, 0xb6)  // movzx r8d, byte
    case 2: emit(0x0f, 0xb7)  // movzx r8d, word
    default: emit(0x8b)  // mov r8d, dword
    }
    if fromStart { emit(0x87) } else { emit(0x84, 0x17) }  // [rdi + offset], [rdi + rdx + offset]
    word(UInt32(offset))
  }
  mutating func and(_ mask: UInt32) {
    emit(0x41, 0x81, 0xe0)  // and r8d, mask
    word(mask)
  }
  mutating func compare(_ value: UInt32) {
    emit(0x41, 0x81, 0xf8)  // cmp r8d, value
    word(value)
  }

  // --- ranks

  /// rax = the higher of itself and a rank.
  mutating func accept(_ rank: UInt64) {
    guard rank != 0 else { return }
    emit(0x49, 0xb9)  // mov r9, rank
    long(rank)
    acceptR9()
  }
  private mutating func acceptR9() {
    emit(0x4c, 0x39, 0xc8)  // cmp rax, r9
    emit(0x49, 0x0f, 0x42, 0xc1)  // cmovb rax, r9
  }

  /// Looks r8d up in the table whose header is at `header`, takes its rank and goes on where it says; to `miss` if it is not
  /// there. See `FilterTable` for the layout.
  /// - Parameter base: the arena's address.
  mutating func lookUp(_ header: UInt64, multiplier: UInt32, base: UInt64, miss: Label) {
    let (next, hit) = (label(), label())
    emit(0x49, 0xba)  // mov r10, header
    long(header)
    emit(0x45, 0x69, 0xc8)  // imul r9d, r8d, multiplier
    word(multiplier)
    emit(0x41, 0x8b, 0x4a, 0x08)  // mov ecx, [r10 + 8]
    emit(0x41, 0xd3, 0xe9)  // shr r9d, cl
    emit(0x4d, 0x8b, 0x12)  // mov r10, [r10]
    emit(0x49, 0xc1, 0xe1, 0x04)  // shl r9, 4
    emit(0x4d, 0x01, 0xca)  // add r10, r9
    place(next)
    emit(0x41, 0x83, 0x7a, 0x04, 0x00)  // cmp dword [r10 + 4], 0
    jump(.equal, miss)
    emit(0x45, 0x39, 0x02)  // cmp [r10], r8d
    jump(.equal, hit)
    emit(0x49, 0x83, 0xc2, 0x10)  // add r10, 16
    jump(next)
    place(hit)
    emit(0x4d, 0x8b, 0x4a, 0x08)  // mov r9, [r10 + 8]
    acceptR9()
    emit(0x45, 0x8b, 0x4a, 0x04)  // mov r9d, [r10 + 4]
    emit(0x41, 0x81, 0xe1)  // and r9d, ~used
    word(0x7fff_ffff)
    jump(.equal, miss)
    emit(0x49, 0xba)  // mov r10, base
    long(base)
    emit(0x4d, 0x01, 0xd1)  // add r9, r10
    emit(0x41, 0xff, 0xe1)  // jmp r9
  }

  // --- moves

  mutating func move(_ advance: FilterAdvance, fromStart: Bool, else fail: Label) {
    switch advance {
    case .headerLength(let offset, let mask, let shift):
      requireLength(offset + 1, fromStart: fromStart, else: fail)
      load(offset, width: 1, fromStart: fromStart)
      and(UInt32(mask))
      if shift > 0 { emit(0x41, 0xc1, 0xe0, UInt8(shift)) }  // shl r8d, shift
      if shift < 0 { emit(0x41, 0xc1, 0xe8, UInt8(-shift)) }  // shr r8d, -shift
      emit(0x4c, 0x01, 0xc2)  // add rdx, r8
    case .vlanTags(let offset):
      let done = label()
      for _ in 0..<PacketCursor.tagLimit {
        let tag = label()
        requireLength(offset + 2, fromStart: false, else: fail)
        load(offset, width: 2, fromStart: false)
        compare(UInt32(UInt16(0x8100).byteSwapped))
        jump(.equal, tag)
        compare(UInt32(UInt16(0x88a8).byteSwapped))
        jump(.notEqual, done)
        place(tag)
        emit(0x48, 0x83, 0xc2, 0x04)  // add rdx, 4
      }
      place(done)
    case .extensionHeaders(let offset): skipExtensions(offset, else: fail)
    }
  }

  private mutating func loadProtocol(_ offset: Int) {
    emit(0x44, 0x0f, 0xb6, 0x9c, 0x17)  // movzx r11d, byte [rdi + rdx + offset]
    word(UInt32(offset))
  }
  private mutating func moveOn(_ bytes: Int) {
    emit(0x48, 0x8d, 0x92)  // lea rdx, [rdx + bytes]
    word(UInt32(bytes))
  }
  private mutating func ifProtocol(_ number: UInt8, _ label: Label) {
    emit(0x41, 0x83, 0xfb, number)  // cmp r11d, number
    jump(.equal, label)
  }

  private mutating func skipExtensions(_ offset: Int, else fail: Label) {
    let (next, options, authentication, fragment, following, done) =
      (label(), label(), label(), label(), label(), label())
    requireLength(offset + 40, fromStart: false, else: fail)
    loadProtocol(offset + 6)
    moveOn(offset + 40)
    emit(0xb9)  // mov ecx, limit
    word(UInt32(PacketCursor.extensionLimit))
    place(next)
    for number: UInt8 in [0, 43, 60] { ifProtocol(number, options) }
    ifProtocol(51, authentication)
    ifProtocol(44, fragment)
    jump(done)

    place(options)
    requireLength(8, fromStart: false, else: fail)
    load(1, width: 1, fromStart: false)
    emit(0x41, 0xc1, 0xe0, 3)  // shl r8d, 3
    jump(following)
    place(authentication)
    requireLength(8, fromStart: false, else: fail)
    load(1, width: 1, fromStart: false)
    emit(0x41, 0xc1, 0xe0, 2)  // shl r8d, 2
    jump(following)
    place(fragment)
    requireLength(8, fromStart: false, else: fail)
    load(2, width: 2, fromStart: false)
    and(UInt32(UInt16(0xfff8).byteSwapped))
    compare(0)
    jump(.notEqual, fail)
    // r8d is 0: a fragment header has no more than its 8 bytes.
    place(following)
    loadProtocol(0)
    moveOn(8)
    emit(0x4c, 0x01, 0xc2)  // add rdx, r8
    emit(0xff, 0xc9)  // dec ecx
    jump(.notEqual, next)
    jump(fail)
    place(done)
  }
}
