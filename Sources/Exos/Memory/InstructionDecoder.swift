/// Works out which memory an x86-64 instruction touches, from its bytes and the registers: what a page-fault handler on a
/// direct gate needs, since it cannot read CR2. It knows what compilers emit (integer, string, x87, SSE, AVX and AVX-512
/// instructions) and refuses all else, as it refuses encodings on whose meaning processors differ.
public enum InstructionDecoder {
  /// - Parameters:
  ///   - bytes: the instruction. Nothing past its end is read.
  ///   - count: how many bytes may be read.
  ///   - registers: as they were when it faulted.
  public static func decode(
    _ bytes: UnsafeRawPointer, count: Int, _ registers: MachineRegisters
  ) -> InstructionDecoding {
    var reader = InstructionBytes(bytes, count: count)
    guard let prefixes = InstructionPrefixes(&reader), let opcode = reader.next() else { return .unknown }
    let modRM = reader.peek() ?? 0
    let shape: OperandShape? =
      switch (prefixes.encoding, prefixes.map) {
      case (.legacy, .one): .one(opcode, prefixes, modRM: modRM)
      case (.legacy, .two): .two(opcode, prefixes, modRM: modRM)
      case (.legacy, .three38): .three38(opcode, prefixes)
      case (.legacy, .three3A): .three3A(opcode, prefixes)
      default: .vector(opcode, prefixes, modRM: modRM)
      }
    guard let shape else {
      // Whatever a vector instruction does to registers, it does nothing to memory.
      return prefixes.encoding != .legacy && reader.peek() != nil && modRM >= 0xc0 ? .noAccess : .unknown
    }
    var decoder = OperandDecoder(reader: reader, prefixes: prefixes, registers: registers)
    return decoder.decode(shape) ?? .unknown
  }
}

/// What follows an opcode of known shape.
private struct OperandDecoder {
  var reader: InstructionBytes
  let prefixes: InstructionPrefixes
  let registers: MachineRegisters

  /// Nil if bytes or registers are missing.
  mutating func decode(_ shape: OperandShape) -> InstructionDecoding? {
    var accesses = MemoryAccesses()
    let stack = registers.general[MachineRegisters.rsp]
    let stackSize = prefixes.stackSize
    func access(_ address: UInt64, _ size: Int, _ kind: MemoryAccess.Kind) -> MemoryAccess {
      MemoryAccess(address: address, size: size, kind: kind)
    }
    func pushed(_ size: Int) -> MemoryAccess { access(stack &- UInt64(size), size, .write) }
    func source() -> UInt64 { offset(registers.general[MachineRegisters.rsi]) &+ segmentBase }
    func destination() -> UInt64 { offset(registers.general[MachineRegisters.rdi]) }

    switch shape {
    case .none: return .noAccess
    case .memory(let size, let immediate, let scale, let isMasked):
      guard let form = reader.peek() else { return nil }
      if form >= 0xc0 { return .noAccess }
      guard let address = operand(immediate: immediate, scale: scale) else { return nil }
      accesses.add(MemoryAccess(address: address, size: size, kind: .either, isMasked: isMasked))
    case .bits:
      guard let form = reader.peek() else { return nil }
      if form >= 0xc0 { return .noAccess }
      guard let address = operand(withoutSegment: true) else { return nil }
      let size = prefixes.operandSize
      let number = registers.general[Int(form >> 3 & 7) + prefixes.register]
      let shift = UInt64(64 - 8 * size)
      let bit = Int64(bitPattern: number << shift) >> Int64(shift)
      // Whole operands further, in either direction.
      let units = bit >> (size == 8 ? 6 : size == 4 ? 5 : 4)
      let place = offset(address &+ UInt64(bitPattern: units &* Int64(size)))
      accesses.add(access(place &+ segmentBase, size, .either))
    case .pushOperand, .callOperand:
      let size = if case .callOperand = shape { 8 } else { stackSize }
      guard let form = reader.peek() else { return nil }
      if form < 0xc0 {
        guard let address = operand() else { return nil }
        accesses.add(access(address, size, .read))
      }
      accesses.add(pushed(size))
    case .popOperand:
      guard let form = reader.peek() else { return nil }
      accesses.add(access(stack, stackSize, .read))
      if form < 0xc0 {
        // The address is made after the pop.
        guard let address = operand(stackMoved: UInt64(stackSize)) else { return nil }
        accesses.add(access(address, stackSize, .write))
      }
    case .push: accesses.add(pushed(stackSize))
    case .pop: accesses.add(access(stack, stackSize, .read))
    case .leave: accesses.add(access(registers.general[MachineRegisters.rbp], stackSize, .read))
    case .absolute(let size):
      guard let address = reader.signed(prefixes.hasAddressSize ? 4 : 8) else { return nil }
      accesses.add(access(offset(address) &+ segmentBase, size, .either))
    case .load(let size): accesses.add(access(source(), size, .read))
    case .store(let size): accesses.add(access(destination(), size, .write))
    case .scan(let size): accesses.add(access(destination(), size, .read))
    case .move(let size):
      accesses.add(access(source(), size, .read))
      accesses.add(access(destination(), size, .write))
    case .compare(let size):
      accesses.add(access(source(), size, .read))
      accesses.add(access(destination(), size, .read))
    case .translate:
      let low = registers.general[MachineRegisters.rax] & 0xff
      accesses.add(access(offset(registers.general[MachineRegisters.rbx] &+ low) &+ segmentBase, 1, .read))
    case .maskedStore(let size):
      guard let form = reader.next(), form >= 0xc0 else { return nil }
      var masked = access(destination() &+ segmentBase, size, .write)
      masked.isMasked = true
      accesses.add(masked)
    case .gather(let element, let index):
      guard gather(element, index, &accesses) else { return nil }
    }
    return .accesses(accesses)
  }

  private var segmentBase: UInt64 {
    switch prefixes.segment {
    case .flat: 0
    case .fs: registers.fsBase
    case .gs: registers.gsBase
    }
  }
  /// What an address is before its segment's base is added.
  private func offset(_ address: UInt64) -> UInt64 {
    prefixes.hasAddressSize ? address & 0xffff_ffff : address
  }

  /// The address that ModRM and what follows it say, of which the caller knows that it is one.
  private mutating func operand(
    immediate: Int = 0, scale: Int = 1, withoutSegment: Bool = false, stackMoved: UInt64 = 0
  ) -> UInt64? {
    guard let modRM = reader.next() else { return nil }
    let mode = modRM >> 6
    var address: UInt64 = 0
    var displacement = mode == 1 ? 1 : mode == 2 ? 4 : 0
    var isRelative = false
    func general(_ number: Int) -> UInt64 {
      let value = registers.general[number]
      return number == MachineRegisters.rsp ? value &+ stackMoved : value
    }
    if modRM & 7 == 4 {
      guard let sib = reader.next() else { return nil }
      let index = Int(sib >> 3 & 7) + prefixes.index
      if index != 4 { address = registers.general[index] << UInt64(sib >> 6) }
      if sib & 7 == 5, mode == 0 {
        displacement = 4
      } else {
        address &+= general(Int(sib & 7) + prefixes.base)
      }
    } else if modRM & 7 == 5, mode == 0 {
      displacement = 4
      isRelative = true
    } else {
      address = general(Int(modRM & 7) + prefixes.base)
    }
    if displacement > 0 {
      guard let distance = reader.signed(displacement) else { return nil }
      address &+= displacement == 1 ? distance &* UInt64(scale) : distance
    }
    guard reader.skip(immediate) else { return nil }
    if isRelative { address &+= registers.rip &+ UInt64(reader.length) }
    return withoutSegment ? address : offset(address) &+ segmentBase
  }

  /// VEX gathers of 128 bits: the addresses are in one vector, the sign bits of another say which count.
  private mutating func gather(_ element: Int, _ index: Int, _ accesses: inout MemoryAccesses) -> Bool {
    guard prefixes.encoding == .vex, prefixes.vectorLength == 16, let vectors = registers.vectors,
      let modRM = reader.next(), modRM & 7 == 4, modRM < 0xc0, let sib = reader.next()
    else { return false }
    let mode = modRM >> 6
    var base: UInt64 = 0
    var displacement = mode == 1 ? 1 : mode == 2 ? 4 : 0
    if sib & 7 == 5, mode == 0 {
      displacement = 4
    } else {
      base = registers.general[Int(sib & 7) + prefixes.base]
    }
    guard let distance = displacement == 0 ? 0 : reader.signed(displacement) else { return false }
    base &+= distance
    let indices = vectors + 2 * (Int(sib >> 3 & 7) + prefixes.index)
    let mask = vectors + 2 * prefixes.extra
    func part(_ vector: UnsafePointer<UInt64>, _ size: Int, _ place: Int) -> Int64 {
      if size == 8 { return Int64(bitPattern: vector[place]) }
      return Int64(Int32(truncatingIfNeeded: vector[place / 2] >> UInt64(32 * (place & 1))))
    }
    for place in 0..<16 / max(element, index) where part(mask, element, place) < 0 {
      let scaled = UInt64(bitPattern: part(indices, index, place)) << UInt64(sib >> 6)
      accesses.add(
        MemoryAccess(address: offset(base &+ scaled) &+ segmentBase, size: element, kind: .read))
    }
    return true
  }
}
