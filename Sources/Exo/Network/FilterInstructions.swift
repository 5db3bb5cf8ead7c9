/// What filters are made of, as instructions that use only registers that a C function may change:
///
///     rdi  the packet      rsi  its length     rdx  where offsets count from, if that is no constant
///     rax  the best rank   r8   a field        r11  the protocol extension headers led to
///     rcx, r9, r10, xmm0   anything
extension X86Assembler {
  /// Where offsets count from.
  enum Base: Equatable {
    case constant(Int)
    /// rdx.
    case register
  }

  /// rdx = where offsets count from.
  mutating func setBase(_ base: Base) {
    guard case .constant(let bytes) = base else { return }
    if bytes == 0 {
      emit(0x31, 0xd2)  // xor edx, edx
    } else {
      emit(0xba)  // mov edx, bytes
      word(UInt32(bytes))
    }
  }

  // --- fields

  /// Goes to `label` unless the packet has `end` bytes from where offsets count.
  mutating func requireLength(_ end: Int, from base: Base, else label: Label) {
    switch base {
    case .constant(let start):
      if start + end < 128 {
        emit(0x48, 0x83, 0xfe, UInt8(start + end))  // cmp rsi, end
      } else {
        emit(0x48, 0x81, 0xfe)
        word(UInt32(start + end))
      }
      jump(.below, label)
    case .register:
      emit(0x4c, 0x8d, 0x8a)  // lea r9, [rdx + end]
      word(UInt32(end))
      emit(0x49, 0x39, 0xf1)  // cmp r9, rsi
      jump(.above, label)
    }
  }
  /// The second operand of an instruction: [rdi + offset] or [rdi + rdx + offset].
  /// - Parameter number: the first operand's low three bits, or what stands in their place.
  private mutating func operand(_ number: UInt8, _ offset: Int, from base: Base) {
    let (mode, at): (UInt8, Int)
    switch base {
    case .constant(let start): (mode, at) = (0x07, start + offset)
    case .register: (mode, at) = (0x04, offset)
    }
    let short = (-128..<128).contains(at)
    emit((short ? 0x40 : 0x80) | number << 3 | mode)
    if base == .register { emit(0x17) }
    if short { emit(UInt8(truncatingIfNeeded: at)) } else { word(UInt32(truncatingIfNeeded: at)) }
  }
  /// r8d = the bytes at an offset, as they lie in memory.
  mutating func load(_ offset: Int, width: Int, from base: Base) {
    emit(0x44)
    switch width {
    case 1: emit(0x0f, 0xb6)  // movzx r8d, byte
    case 2: emit(0x0f, 0xb7)  // movzx r8d, word
    default: emit(0x8b)  // mov r8d, dword
    }
    operand(0, offset, from: base)
  }
  mutating func and(_ mask: UInt32) {
    emit(0x41, 0x81, 0xe0)  // and r8d, mask
    word(mask)
  }
  mutating func compare(_ value: UInt32) {
    emit(0x41, 0x81, 0xf8)  // cmp r8d, value
    word(value)
  }

  /// Goes to `label` unless bytes are what they must be. The packet is known to have them.
  mutating func require(_ comparison: FilterComparison, from base: Base, else label: Label) {
    switch comparison {
    case .number(let offset, let width, let mask, let value):
      if width == 4, mask == .max {
        emit(0x81)  // cmp dword [], value
        operand(7, offset, from: base)
        word(value)
      } else if width == 1, mask == 0xff {
        emit(0x80)  // cmp byte [], value
        operand(7, offset, from: base)
        emit(UInt8(value))
      } else {
        load(offset, width: width, from: base)
        if width == 4 || mask != UInt32(1) << UInt32(width * 8) - 1 { and(mask) }
        compare(value)
      }
    case .wide(let offset, let mask, let value):
      emit(0xf3, 0x0f, 0x6f)  // movdqu xmm0, []
      operand(0, offset, from: base)
      emit(0x66, 0x0f, 0xef, 0x05)  // pxor xmm0, value
      refer(to: value)
      emit(0x66, 0x0f, 0x38, 0x17, 0x05)  // ptest xmm0, mask
      refer(to: mask)
    }
    jump(.notEqual, label)
  }

  // --- ranks

  /// rax = no rank.
  mutating func acceptNothing() { emit(0x31, 0xc0) }  // xor eax, eax
  /// rax = a rank, the higher of itself and the rank if it has one.
  mutating func accept(_ rank: UInt64, orBetter: Bool) {
    guard orBetter else {
      emit(0x48, 0xb8)  // mov rax, rank
      return long(rank)
    }
    emit(0x48, 0xb9)  // mov rcx, rank
    long(rank)
    acceptRCX()
  }
  private mutating func acceptRCX() {
    emit(0x48, 0x39, 0xc8)  // cmp rax, rcx
    emit(0x48, 0x0f, 0x42, 0xc1)  // cmovb rax, rcx
  }

  /// Looks r8d up in a table of this form (see `FilterSlots`): r10 + r9 = its entry; to `miss` if it is not there. What is done with
  /// the entry is written by `hit`, for the entry it finds where the value belongs and for one behind that.
  mutating func lookUp(
    _ table: FilterTable.Form, multiplier: UInt32, miss: Label, hit: (inout X86Assembler) -> Void
  ) {
    // Most of those that are not here yet will be.
    if let previous = table.previous {
      let notThere = label()
      lookUp(table.place, multiplier: multiplier, miss: notThere, hit: hit)
      place(notThere)
      lookUp(previous, multiplier: multiplier, miss: miss, hit: hit)
    } else {
      lookUp(table.place, multiplier: multiplier, miss: miss, hit: hit)
    }
  }
  private mutating func lookUp(
    _ table: FilterSlots.Place, multiplier: UInt32, miss: Label, hit: (inout X86Assembler) -> Void
  ) {
    let (next, found) = (label(), label())
    emit(0x45, 0x69, 0xc8)  // imul r9d, r8d, multiplier
    word(multiplier)
    emit(0x41, 0xc1, 0xe9, UInt8(table.shift))  // shr r9d, shift
    emit(0x41, 0xc1, 0xe1, 0x04)  // shl r9d, 4
    emit(0x49, 0xba)  // mov r10, entries
    long(table.address)
    // An unused entry has no rank and leads nowhere: it may be taken for that of the value 0.
    emit(0x47, 0x39, 0x04, 0x0a)  // cmp [r10 + r9], r8d
    jump(.notEqual, next)
    place(found)
    hit(&self)
    place(next)
    emit(0x43, 0x83, 0x7c, 0x0a, 0x04, 0x00)  // cmp dword [r10 + r9 + 4], 0
    jump(.equal, miss)
    emit(0x49, 0x83, 0xc1, 0x10)  // add r9, 16
    emit(0x47, 0x39, 0x04, 0x0a)  // cmp [r10 + r9], r8d
    jump(.notEqual, next)
    jump(found)
  }
  /// rax = the entry's rank, or the higher of itself and that.
  mutating func acceptEntry(orBetter: Bool) {
    guard orBetter else { return emit(0x4b, 0x8b, 0x44, 0x0a, 0x08) }  // mov rax, [r10 + r9 + 8]
    emit(0x4b, 0x8b, 0x4c, 0x0a, 0x08)  // mov rcx, [r10 + r9 + 8]
    acceptRCX()
  }
  /// r9 = where the entry leads, in an arena that is at `arena`; to `nowhere` if that is nowhere.
  mutating func followEntry(arena: UInt64, nowhere: Label) {
    emit(0x47, 0x8b, 0x4c, 0x0a, 0x04)  // mov r9d, [r10 + r9 + 4]
    emit(0x41, 0x81, 0xe1)  // and r9d, ~used
    word(0x7fff_ffff)
    jump(.equal, nowhere)
    emit(0x49, 0xba)  // mov r10, arena
    long(arena)
    emit(0x4d, 0x01, 0xd1)  // add r9, r10
  }
  mutating func jumpToR9() { emit(0x41, 0xff, 0xe1) }
  mutating func callR9() { emit(0x41, 0xff, 0xd1) }

  // --- moves

  /// rdx = where offsets count from then.
  mutating func move(_ advance: FilterAdvance, from base: Base, else fail: Label) {
    setBase(base)
    switch advance {
    case .headerLength(let offset, let mask, let shift):
      requireLength(offset + 1, from: base, else: fail)
      load(offset, width: 1, from: base)
      and(UInt32(mask))
      if shift > 0 { emit(0x41, 0xc1, 0xe0, UInt8(shift)) }  // shl r8d, shift
      if shift < 0 { emit(0x41, 0xc1, 0xe8, UInt8(-shift)) }  // shr r8d, -shift
      emit(0x4c, 0x01, 0xc2)  // add rdx, r8
    case .vlanTags(let offset):
      let done = label()
      for _ in 0..<PacketCursor.tagLimit {
        let tag = label()
        requireLength(offset + 2, from: .register, else: fail)
        load(offset, width: 2, from: .register)
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
    requireLength(offset + 40, from: .register, else: fail)
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
    requireLength(8, from: .register, else: fail)
    load(1, width: 1, from: .register)
    emit(0x41, 0xc1, 0xe0, 3)  // shl r8d, 3
    jump(following)
    place(authentication)
    requireLength(8, from: .register, else: fail)
    load(1, width: 1, from: .register)
    emit(0x41, 0xc1, 0xe0, 2)  // shl r8d, 2
    jump(following)
    place(fragment)
    requireLength(8, from: .register, else: fail)
    load(2, width: 2, from: .register)
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

/// A loop over many packets, in code that a C function may be:
///
///     rdi  where bytes lie     rsi  where each packet is in them: first byte and the byte after its last, of 8 bytes each
///     rdx  how many            rcx  where the rank of each goes
///     returns how many have one
extension X86Assembler {
  /// Begins it: rdi and rsi are a packet and its length. Returns where the next packet begins.
  mutating func beginBatch(else done: Label) -> Label {
    emit(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56)  // push rbx, rbp, r12 to r14
    emit(0x45, 0x31, 0xf6)  // xor r14d, r14d
    // From both ends, with one count from below zero to zero for both.
    emit(0x48, 0x89, 0xfb, 0x48, 0xd1, 0xe2)  // mov rbx, rdi; shl rdx, 1
    // lea rbp, [rsi + rdx * 8]; lea r13, [rcx + rdx * 4]
    emit(0x48, 0x8d, 0x2c, 0xd6, 0x4c, 0x8d, 0x2c, 0x91)
    emit(0x49, 0x89, 0xd4, 0x49, 0xf7, 0xdc)  // mov r12, rdx; neg r12
    jump(.equal, done)
    let next = label()
    place(next)
    // mov rdi, [rbp + r12 * 8]; mov rsi, [rbp + r12 * 8 + 8]
    emit(0x4a, 0x8b, 0x7c, 0xe5, 0, 0x4a, 0x8b, 0x74, 0xe5, 8)
    emit(0x48, 0x29, 0xfe, 0x48, 0x01, 0xdf)  // sub rsi, rdi; add rdi, rbx
    return next
  }
  /// Stores rax, counts it if it is a rank, and goes to the next packet, or on.
  mutating func nextOfBatch(_ next: Label) {
    emit(0x48, 0x83, 0xf8, 1, 0x49, 0x83, 0xde, 0xff)  // cmp rax, 1; sbb r14, -1
    emit(0x4b, 0x89, 0x44, 0xa5, 0, 0x49, 0x83, 0xc4, 2)  // mov [r13 + r12 * 4], rax; add r12, 2
    jump(.notEqual, next)
  }
  mutating func endBatch() {
    emit(0x4c, 0x89, 0xf0)  // mov rax, r14
    emit(0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b)  // pop r14 to r12, rbp, rbx
    ret()
  }
}
