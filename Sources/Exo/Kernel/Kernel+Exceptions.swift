import ExoABI

extension Kernel {
  /// Binds a vector to a handler of the environment: from here on the hardware enters it without the exokernel.
  ///
  /// The frames under the push range are pinned: the environment cannot unmap them, so a delivery cannot fault. All
  /// vectors of a class share the class's stack.
  mutating func bindException(
    _ vector: ExceptionVector, handler: GuestAddress, stackTop: GuestAddress, withAddress: Bool,
    in id: EnvironmentID
  ) throws(Refusal) {
    guard var domain = domains[id] else { throw .absent }
    let slot = vector.stackSlot
    var stack = domain.exceptionStacks[slot] ?? ExceptionStack(top: stackTop)
    guard stack.top == stackTop || stack.vectors.subtracting([vector]).isEmpty else { throw .busy }
    guard domain.shell.space.allows([.read, .execute], handler, count: 1, memory: memory) else {
      throw .badAddress
    }
    let low = GuestAddress(stackTop.value - UInt64(EXO_EXCEPTION_PUSH))
    guard domain.shell.space.allows([.read, .write], low, count: Int(EXO_EXCEPTION_PUSH), memory: memory)
    else { throw .badAddress }
    // A guaranteed mapping: only of frames that nobody else can take back.
    for page in stride(from: low.value & ~0xfff, to: stackTop.value, by: 4096) {
      let entry = domain.shell.space.entry(of: GuestAddress(page), in: memory)
      guard let frame = frame(at: entry.address), frames.owner(of: frame) == id else { throw .notPermitted }
    }
    if stack.top != stackTop || stack.vectors.isEmpty {
      unpinStack(stack, in: domain)
      stack = ExceptionStack(top: stackTop, frames: pinPages(low, through: stackTop, in: domain))
    }
    stack.vectors.insert(vector)
    domain.exceptionStacks[slot] = stack
    domains[id] = domain
    domain.latch.hold {
      domain.shell.tables.setStack(slot: slot, top: stackTop.value, in: memory)
      if withAddress {
        domain.shell.tables.bindPageFaultWithAddress(
          handler: handler, stackTop: stackTop.value, in: memory)
      } else {
        domain.shell.tables.bindDirect(vector, handler: handler, in: memory)
      }
    }
  }

  /// Gives a vector back to the nucleus.
  mutating func unbindException(_ vector: ExceptionVector, in id: EnvironmentID) throws(Refusal) {
    guard var domain = domains[id] else { throw .absent }
    let slot = vector.stackSlot
    guard var stack = domain.exceptionStacks[slot], stack.vectors.remove(vector) != nil else {
      throw .absent
    }
    domain.latch.hold { domain.shell.tables.unbind(vector, in: memory) }
    if stack.vectors.isEmpty {
      unpinStack(stack, in: domain)
      domain.exceptionStacks[slot] = nil
    } else {
      domain.exceptionStacks[slot] = stack
    }
    domains[id] = domain
  }

  private mutating func pinPages(_ low: GuestAddress, through top: GuestAddress, in domain: Domain) -> [Frame]
  {
    var pinned: [Frame] = []
    var page = low.value & ~0xfff
    while page < top.value {
      if let slot = domain.shell.space.slot(of: GuestAddress(page), in: memory) {
        let before = memory.updateEntry(at: slot) {
          PageTableEntry(bits: $0.bits | PageTableEntry.pinned)
        }
        if let frame = frame(at: before.address) {
          frames.pin(frame)
          pinned.append(frame)
        }
      }
      page += 4096
    }
    return pinned
  }

  private mutating func unpinStack(_ stack: ExceptionStack, in domain: Domain) {
    guard !stack.frames.isEmpty else { return }
    for frame in stack.frames { frames.unpin(frame) }
    let pinned = Set(stack.frames)
    let low = (stack.top.value - UInt64(EXO_EXCEPTION_PUSH)) & ~0xfff
    for page in stride(from: low, to: stack.top.value, by: 4096) {
      guard let slot = domain.shell.space.slot(of: GuestAddress(page), in: memory) else { continue }
      // Another class's stack may share the page: the mark goes with the last pin.
      guard let frame = frame(at: memory.entry(at: slot).address), pinned.contains(frame),
        frames.pins(of: frame) == 0
      else { continue }
      memory.updateEntry(at: slot) { PageTableEntry(bits: $0.bits & ~PageTableEntry.pinned) }
    }
  }
}
