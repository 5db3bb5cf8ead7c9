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
    guard let domain = domains[id] else { throw .absent }
    // An environment that takes part in control transfer has given #OF up for it.
    guard vector != .overflow || domain.entry == nil else { throw .busy }
    let slot = vector.stackSlot
    var stack = domain.exceptionStacks[slot] ?? ExceptionStack(top: stackTop)
    guard stack.top == stackTop || stack.vectors.subtracting([vector]).isEmpty else { throw .busy }
    guard domain.shell.space.allows([.read, .execute], handler, count: 1, memory: memory) else {
      throw .badAddress
    }
    let low = GuestAddress(stackTop.value - UInt64(EXO_EXCEPTION_PUSH))
    guard domain.shell.space.allows([.read, .write], low, count: Int(EXO_EXCEPTION_PUSH), memory: memory)
    else { throw .badAddress }
    let pages = GuestAddress(low.value & ~0xfff)
    let count = Int((stackTop.value - pages.value + 4095) >> 12)
    try requireOwned(pages, pages: count, in: id)
    let isNew = !stack.vectors.contains(vector)
    if isNew { try chargeBindings(1, to: id) }
    if stack.top != stackTop || stack.vectors.isEmpty {
      guard pinStack(pages, pages: count, below: stackTop, in: domain) else {
        if isNew { releaseBindings(1, of: id) }
        throw .badAddress
      }
      unpinStack(stack, in: domain)
      stack = ExceptionStack(top: stackTop, pages: pages, pageCount: count, vectors: stack.vectors)
    }
    stack.vectors.insert(vector)
    domains[id]?.exceptionStacks[slot] = stack
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
    guard let domain = domains[id] else { throw .absent }
    let slot = vector.stackSlot
    guard var stack = domain.exceptionStacks[slot], stack.vectors.remove(vector) != nil else {
      throw .absent
    }
    domain.latch.hold { domain.shell.tables.unbind(vector, in: memory) }
    releaseBindings(1, of: id)
    if stack.vectors.isEmpty { unpinStack(stack, in: domain) }
    domains[id]?.exceptionStacks[slot] = stack.vectors.isEmpty ? nil : stack
  }

  /// Pins a stack's pages, if they can be pushed on. The environment runs meanwhile, and lowers its own pages by the nucleus where
  /// that answers calls; a page that is pinned it cannot. So it is looked at once it is.
  mutating func pinStack(
    _ pages: GuestAddress, pages count: Int, below top: GuestAddress, in domain: Domain
  ) -> Bool {
    pin(pages, pages: count, in: domain)
    let pushed = GuestAddress(top.value - UInt64(EXO_EXCEPTION_PUSH))
    if domain.shell.space.allows([.read, .write], pushed, count: Int(EXO_EXCEPTION_PUSH), memory: memory) {
      return true
    }
    unpin(pages, pages: count, in: domain)
    return false
  }

  private mutating func unpinStack(_ stack: ExceptionStack, in domain: Domain) {
    unpin(stack.pages, pages: stack.pageCount, in: domain)
  }
}
