/// A handler as x86-64 code, which does what `PacketHandler.run` does (Intel SDM 2 for the bytes). A C function of three arguments:
///
///     rdi  the packet      rsi  its length     rdx  the frame (`HandlerFrame`), its reply all zero
///     r8 to r15  the handler's registers 0 to 7
///     rax, rcx, rbx, rbp   anything
///
/// The region is at a constant address. Returns
///
///     0: done with, 1: to be delivered, 2: went past an end or its budget
///
/// The sum is kept in the processor's byte order and turned around when it is asked for: a ones' complement sum is the
/// same in either, but for that (RFC 1071, 2B). So four bytes are copied and summed at a time.
struct HandlerCompiler {
  private var code = X86Assembler()
  private let region: HandlerRegion?
  private let failed: X86Assembler.Label
  private let out: X86Assembler.Label

  /// - Parameter region: stays where it is while the code is run.
  static func compile(_ handler: PacketHandler, region: HandlerRegion?) -> [UInt8] {
    var compiler = HandlerCompiler(region)
    return compiler.compile(handler.instructions)
  }

  private init(_ region: HandlerRegion?) {
    self.region = region
    failed = code.label()
    out = code.label()
  }

  private mutating func compile(_ instructions: [PacketHandler.Instruction]) -> [UInt8] {
    code.emit(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57)  // push rbx, rbp, r12 to r15
    for register: UInt8 in 0..<8 { code.emit(0x45, 0x31, 0xc0 | register << 3 | register) }  // xor r, r
    let labels = instructions.map { _ in code.label() }
    for (index, instruction) in instructions.enumerated() {
      code.place(labels[index])
      compile(instruction, labels: labels, at: index)
    }
    code.place(failed)
    code.emit(0xb8)  // mov eax, 2
    code.word(2)
    code.place(out)
    code.emit(0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b)  // pop them
    code.ret()
    return code.finish()
  }

  private mutating func compile(
    _ instruction: PacketHandler.Instruction, labels: [X86Assembler.Label], at index: Int
  ) {
    let (d, a, b) = (
      UInt8(instruction.destination), UInt8(instruction.a), UInt8(instruction.b)
    )
    switch instruction.operation {
    case .constant:
      code.emit(0x49, 0xc7, 0xc0 | d)  // mov r, immediate
      code.word(UInt32(bitPattern: instruction.immediate))
    case .length: code.emit(0x49, 0x89, 0xf0 | d)  // mov r, rsi
    case .load8: load(d, at: a, instruction.immediate, width: 1)
    case .load16: load(d, at: a, instruction.immediate, width: 2)
    case .load32: load(d, at: a, instruction.immediate, width: 4)
    case .store8: store(b, at: a, instruction.immediate, width: 1)
    case .store16: store(b, at: a, instruction.immediate, width: 2)
    case .store32: store(b, at: a, instruction.immediate, width: 4)
    case .copy: copy(to: d, from: a, instruction.immediate, count: b, limit: PacketRing.size, region: nil)
    case .regionLoad32, .regionLoad64, .regionStore32, .regionStore64, .regionCopy:
      guard let region else { return code.jump(failed) }
      switch instruction.operation {
      case .regionLoad32: regionLoad(d, at: a, instruction.immediate, width: 4, region)
      case .regionLoad64: regionLoad(d, at: a, instruction.immediate, width: 8, region)
      case .regionStore32: regionStore(b, at: a, instruction.immediate, width: 4, region)
      case .regionStore64: regionStore(b, at: a, instruction.immediate, width: 8, region)
      default: copy(to: d, from: a, instruction.immediate, count: b, limit: region.size, region: region)
      }
    case .sum: sum(d)
    case .add: arithmetic(0x01, d, a, b)
    case .subtract: arithmetic(0x29, d, a, b)
    case .and: arithmetic(0x21, d, a, b)
    case .or: arithmetic(0x09, d, a, b)
    case .xor: arithmetic(0x31, d, a, b)
    case .shiftLeft: shift(0xe0, d, a, b)
    case .shiftRight: shift(0xe8, d, a, b)
    case .equal: compare(0x94, d, a, b)
    case .less: compare(0x92, d, a, b)
    case .skipIfZero:
      test(a)
      code.jump(.equal, labels[index + 1 + Int(instruction.immediate)])
    case .send: send()
    case .result:
      test(a)
      code.emit(0x0f, 0x95, 0xc0, 0x0f, 0xb6, 0xc0)  // setne al; movzx eax, al
      code.jump(out)
    }
  }

  // --- registers

  /// rax = a register of the handler.
  private mutating func take(_ register: UInt8) { code.emit(0x4c, 0x89, 0xc0 | register << 3) }
  private mutating func takeIntoRCX(_ register: UInt8) { code.emit(0x4c, 0x89, 0xc1 | register << 3) }
  /// A register of the handler = rax.
  private mutating func keep(_ register: UInt8) { code.emit(0x49, 0x89, 0xc0 | register) }
  private mutating func test(_ register: UInt8) {
    take(register)
    code.emit(0x48, 0x85, 0xc0)  // test rax, rax
  }
  private mutating func arithmetic(_ operation: UInt8, _ d: UInt8, _ a: UInt8, _ b: UInt8) {
    take(a)
    code.emit(0x4c, operation, 0xc0 | b << 3)  // operation rax, r
    keep(d)
  }
  private mutating func compare(_ condition: UInt8, _ d: UInt8, _ a: UInt8, _ b: UInt8) {
    take(a)
    code.emit(0x4c, 0x39, 0xc0 | b << 3)  // cmp rax, r
    code.emit(0x0f, condition, 0xc0, 0x0f, 0xb6, 0xc0)  // set al; movzx eax, al
    keep(d)
  }
  private mutating func shift(_ operation: UInt8, _ d: UInt8, _ a: UInt8, _ b: UInt8) {
    let (far, done) = (code.label(), code.label())
    takeIntoRCX(b)
    take(a)
    code.emit(0x48, 0x83, 0xf9, 63)  // cmp rcx, 63
    code.jump(.above, far)
    code.emit(0x48, 0xd3, operation)  // shl or shr rax, cl
    code.jump(done)
    code.place(far)
    code.emit(0x31, 0xc0)  // xor eax, eax
    code.place(done)
    keep(d)
  }

  // --- the packet and the reply

  /// rax = register + immediate, which is not negative and below 2^42; changes rbx.
  private mutating func place(_ register: UInt8, _ immediate: Int32) {
    take(register)
    code.emit(0x48, 0x89, 0xc3, 0x48, 0xc1, 0xeb, 40)  // mov rbx, rax; shr rbx, 40
    code.jump(.notEqual, failed)
    code.emit(0x48, 0x05)  // add rax, immediate
    code.word(UInt32(bitPattern: immediate))
    code.jump(.negative, failed)
  }

  private mutating func load(_ d: UInt8, at a: UInt8, _ immediate: Int32, width: UInt8) {
    place(a, immediate)
    code.emit(0x48, 0x8d, 0x48, width, 0x48, 0x39, 0xf1)  // lea rcx, [rax + width]; cmp rcx, rsi
    code.jump(.above, failed)
    switch width {
    case 1: code.emit(0x0f, 0xb6, 0x04, 0x07)  // movzx eax, byte [rdi + rax]
    case 2: code.emit(0x0f, 0xb7, 0x04, 0x07, 0x66, 0xc1, 0xc0, 8)  // movzx eax, word; rol ax, 8
    default: code.emit(0x8b, 0x04, 0x07, 0x0f, 0xc8)  // mov eax, dword; bswap eax
    }
    keep(d)
  }

  private mutating func store(_ b: UInt8, at a: UInt8, _ immediate: Int32, width: UInt8) {
    place(a, immediate)
    code.emit(0x48, 0x3d)  // cmp rax, size - width
    code.word(UInt32(PacketRing.size) - UInt32(width))
    code.jump(.above, failed)
    takeIntoRCX(b)
    switch width {
    case 1: code.emit(0x88, 0x8c, 0x02)  // mov [rdx + rax + reply], cl
    case 2: code.emit(0x66, 0xc1, 0xc1, 8, 0x66, 0x89, 0x8c, 0x02)  // rol cx, 8; mov word
    default: code.emit(0x0f, 0xc9, 0x89, 0x8c, 0x02)  // bswap ecx; mov dword
    }
    code.word(UInt32(HandlerFrame.reply))
    code.emit(0x48, 0x83, 0xc0, width, 0x48, 0x89, 0xc5)  // add rax, width; mov rbp, rax
    grow()
  }
  /// The reply has at least rbp bytes.
  private mutating func grow() {
    let done = code.label()
    code.emit(0x48, 0x3b, 0x6a, HandlerFrame.length)  // cmp rbp, [rdx + length]
    code.jump(.belowOrEqual, done)
    code.emit(0x48, 0x89, 0x6a, HandlerFrame.length)  // mov [rdx + length], rbp
    code.place(done)
  }

  // --- the region

  /// rax = where a number is in it, rbx = where it is.
  private mutating func placeInRegion(
    _ register: UInt8, _ immediate: Int32, _ width: UInt8, _ region: HandlerRegion
  ) {
    place(register, immediate)
    code.emit(0x48, 0x3d)  // cmp rax, size - width
    code.word(UInt32(region.size) - UInt32(width))
    code.jump(.above, failed)
    code.emit(0xa8, width - 1)  // test al, width - 1
    code.jump(.notEqual, failed)
    code.emit(0x48, 0xbb)  // mov rbx, region
    code.long(region.hostAddress)
  }
  private mutating func regionLoad(
    _ d: UInt8, at a: UInt8, _ immediate: Int32, width: UInt8, _ region: HandlerRegion
  ) {
    placeInRegion(a, immediate, width, region)
    if width == 8 { code.emit(0x48) }
    code.emit(0x8b, 0x04, 0x03)  // mov eax or rax, [rbx + rax]
    keep(d)
  }
  private mutating func regionStore(
    _ b: UInt8, at a: UInt8, _ immediate: Int32, width: UInt8, _ region: HandlerRegion
  ) {
    placeInRegion(a, immediate, width, region)
    takeIntoRCX(b)
    if width == 8 { code.emit(0x48) }
    code.emit(0x89, 0x0c, 0x03)  // mov [rbx + rax], ecx or rcx
  }

  // --- copies

  /// Into the reply, or the region if there is one.
  private mutating func copy(
    to d: UInt8, from a: UInt8, _ immediate: Int32, count b: UInt8, limit: Int, region: HandlerRegion?
  ) {
    takeIntoRCX(b)
    code.emit(0x48, 0x3b, 0x4a, HandlerFrame.budget)  // cmp rcx, [rdx + budget]
    code.jump(.above, failed)
    place(a, immediate)
    code.emit(0x48, 0x8d, 0x1c, 0x08, 0x48, 0x39, 0xf3)  // lea rbx, [rax + rcx]; cmp rbx, rsi
    code.jump(.above, failed)
    code.emit(0x48, 0x8d, 0x04, 0x07, 0x48, 0x89, 0xc5)  // lea rax, [rdi + rax]; mov rbp, rax
    place(d, 0)
    code.emit(0x48, 0x8d, 0x1c, 0x08, 0x48, 0x81, 0xfb)  // lea rbx, [rax + rcx]; cmp rbx, limit
    code.word(UInt32(limit))
    code.jump(.above, failed)
    code.emit(0x48, 0x29, 0x4a, HandlerFrame.budget)  // sub [rdx + budget], rcx
    code.emit(0x48, 0x95, 0x48, 0x87, 0xdd)  // xchg rax, rbp; xchg rbx, rbp: rax from, rbx to, rbp its end
    if let region {
      code.emit(0x48, 0xbd)  // mov rbp, region
      code.long(region.hostAddress)
      code.emit(0x48, 0x01, 0xeb)  // add rbx, rbp
    } else {
      grow()
      code.emit(0x48, 0x8d, 0x9c, 0x1a)  // lea rbx, [rdx + rbx + reply]
      code.word(UInt32(HandlerFrame.reply))
    }
    code.emit(0x56, 0x48, 0x8b, 0x72, HandlerFrame.sum)  // push rsi; mov rsi, [rdx + sum]
    let (next, two, one, done) = (code.label(), code.label(), code.label(), code.label())
    code.place(next)
    code.emit(0x48, 0x83, 0xf9, 4)  // cmp rcx, 4
    code.jump(.below, two)
    code.emit(0x8b, 0x28, 0x89, 0x2b, 0x48, 0x01, 0xee)  // mov ebp, [rax]; mov [rbx], ebp; add rsi, rbp
    code.emit(0x48, 0x83, 0xc0, 4, 0x48, 0x83, 0xc3, 4, 0x48, 0x83, 0xe9, 4)  // rax, rbx += 4; rcx -= 4
    code.jump(next)
    code.place(two)
    code.emit(0x48, 0x83, 0xf9, 2)  // cmp rcx, 2
    code.jump(.below, one)
    code.emit(0x0f, 0xb7, 0x28, 0x66, 0x89, 0x2b, 0x48, 0x01, 0xee)  // the same with a word
    code.emit(0x48, 0x83, 0xc0, 2, 0x48, 0x83, 0xc3, 2, 0x48, 0x83, 0xe9, 2)
    code.place(one)
    code.emit(0x48, 0x85, 0xc9)  // test rcx, rcx
    code.jump(.equal, done)
    code.emit(0x0f, 0xb6, 0x28, 0x40, 0x88, 0x2b, 0x48, 0x01, 0xee)  // and with a byte
    code.place(done)
    code.emit(0x48, 0x89, 0x72, HandlerFrame.sum, 0x5e)  // mov [rdx + sum], rsi; pop rsi
  }

  private mutating func sum(_ d: UInt8) {
    code.emit(0x48, 0x8b, 0x42, HandlerFrame.sum)  // mov rax, [rdx + sum]
    // A sum has at most 44 bits: four folds leave 16.
    for _ in 0..<4 {
      code.emit(0x48, 0x89, 0xc1, 0x48, 0xc1, 0xe9, 16)  // mov rcx, rax; shr rcx, 16
      code.emit(0x0f, 0xb7, 0xc0, 0x48, 0x01, 0xc8)  // movzx eax, ax; add rax, rcx
    }
    code.emit(0x66, 0xc1, 0xc0, 8, 0x35)  // rol ax, 8; xor eax, 0xffff
    code.word(0xffff)
    keep(d)
    code.emit(0x48, 0xc7, 0x42, HandlerFrame.sum)  // mov qword [rdx + sum], 0
    code.word(0)
  }

  /// Copies the reply as it is now.
  private mutating func send() {
    code.emit(0x48, 0x8b, 0x42, HandlerFrame.count)  // mov rax, [rdx + count]
    code.emit(0x48, 0x8b, 0x4a, HandlerFrame.length)  // mov rcx, [rdx + length]
    code.emit(0x48, 0x89, 0x4c, 0xc2, HandlerFrame.lengths)  // mov [rdx + rax * 8 + lengths], rcx
    code.emit(0x48, 0xff, 0x42, HandlerFrame.count)  // inc qword [rdx + count]
    code.emit(0x48, 0x69, 0xc0)  // imul rax, rax, size
    code.word(UInt32(PacketRing.size))
    code.emit(0x56, 0x57)  // push rsi; push rdi
    code.emit(0x48, 0x8d, 0xb2)  // lea rsi, [rdx + reply]
    code.word(UInt32(HandlerFrame.reply))
    code.emit(0x48, 0x8d, 0xbc, 0x02)  // lea rdi, [rdx + rax + sent]
    code.word(UInt32(HandlerFrame.sent))
    code.emit(0xf3, 0xa4, 0x5f, 0x5e)  // rep movsb; pop rdi; pop rsi
  }
}
