import ExoABI

/// Where an environment is entered when an event is delivered: a protected entry context. Its stack is guaranteed, so
/// delivery cannot fault.
struct EventBinding: Hashable, Sendable {
  var handler: GuestAddress
  var stackTop: GuestAddress
  var kinds: Event.Kinds
  var pages: GuestAddress
  var pageCount: Int
}

extension Kernel {
  mutating func bindEvents(
    handler: GuestAddress, stackTop: GuestAddress, kinds: Event.Kinds, in id: EnvironmentID
  ) throws(Refusal) -> EventBinding {
    guard let domain = domains[id] else { throw .absent }
    guard domain.shell.space.allows([.read, .execute], handler, count: 1, memory: memory) else {
      throw .badAddress
    }
    let low = stackTop.value - UInt64(EXO_EXCEPTION_PUSH)
    let pages = GuestAddress(low & ~0xfff)
    let count = Int((stackTop.value - pages.value + 4095) >> 12)
    guard
      domain.shell.space.allows(
        [.read, .write], GuestAddress(low), count: Int(EXO_EXCEPTION_PUSH), memory: memory)
    else { throw .badAddress }
    try requireOwned(pages, pages: count, in: id)
    if domain.eventBinding == nil { try chargeBindings(1, to: id) }
    guard pinStack(pages, pages: count, below: stackTop, in: domain) else {
      if domain.eventBinding == nil { releaseBindings(1, of: id) }
      throw .badAddress
    }
    if let old = domain.eventBinding { unpin(old.pages, pages: old.pageCount, in: domain) }
    let binding = EventBinding(
      handler: handler, stackTop: stackTop, kinds: kinds, pages: pages, pageCount: count)
    domains[id]?.eventBinding = binding
    return binding
  }

  mutating func unbindEvents(in id: EnvironmentID) throws(Refusal) {
    guard let domain = domains[id], let old = domain.eventBinding else { throw .absent }
    unpin(old.pages, pages: old.pageCount, in: domain)
    releaseBindings(1, of: id)
    domains[id]?.eventBinding = nil
  }
}
