import ExoABI

/// Guaranteed mappings, as in Aegis: a pinned page stays mapped as it is until whoever asked for it lets go, so that what
/// the hardware or the exokernel needs there (an exception's frame, handler code, a ring) cannot fault.
extension Kernel {
  /// Pins or unpins pages at an environment's request. Each pinned page is one binding of its quota; to ask again for
  /// one changes nothing.
  mutating func guarantee(
    _ address: GuestAddress, pages: Int, _ pinned: Bool, in id: EnvironmentID
  ) throws(Refusal) {
    guard let domain = domains[id] else { throw .absent }
    if pinned {
      try requireOwned(address, pages: pages, in: id)
      // Once is enough.
      let new = (0..<pages).map { address.advanced(byPages: $0) }.filter { !domain.guarantees.contains($0) }
      try chargeBindings(new.count, to: id)
      for page in new { pin(page, pages: 1, in: domain) }
      domains[id]?.guarantees.formUnion(new)
    } else {
      for page in 0..<pages {
        guard domain.guarantees.contains(address.advanced(byPages: page)) else { throw .absent }
      }
      unpin(address, pages: pages, in: domain)
      releaseBindings(pages, of: id)
      domains[id]?.guarantees.subtract((0..<pages).map { address.advanced(byPages: $0) })
    }
  }

  /// Only frames that nobody else can take back can be guaranteed.
  func requireOwned(_ address: GuestAddress, pages: Int, in id: EnvironmentID) throws(Refusal) {
    guard let domain = domains[id] else { throw .absent }
    for page in 0..<pages {
      let entry = domain.shell.space.entry(of: address.advanced(byPages: page), in: memory)
      guard entry.isMapped else { throw .absent }
      // A huge page is one entry, which cannot stay for one of its pages and go for the others.
      guard domain.shell.space.slot(of: address.advanced(byPages: page), in: memory) != nil else {
        throw .invalid
      }
      guard let frame = frame(at: entry.address), frames.owner(of: frame) == id,
        frames.kind(of: frame) == .data
      else { throw .notPermitted }
    }
  }

  mutating func pin(_ address: GuestAddress, pages: Int, in domain: Domain) {
    forEachPinnable(address, pages: pages, in: domain) { kernel, page, slot, frame in
      kernel.frames.pin(frame)
      kernel.domains[domain.id]?.pinned[page, default: 0] += 1
      kernel.memory.updateEntry(at: slot) { PageTableEntry(bits: $0.bits | PageTableEntry.pinned) }
    }
  }

  mutating func unpin(_ address: GuestAddress, pages: Int, in domain: Domain) {
    forEachPinnable(address, pages: pages, in: domain) { kernel, page, slot, frame in
      guard let count = kernel.domains[domain.id]?.pinned[page] else { return }
      kernel.frames.unpin(frame)
      kernel.domains[domain.id]?.pinned[page] = count > 1 ? count - 1 : nil
      // A huge page's entry keeps the mark for its other pages' sake; what refuses is the count.
      if count == 1, !kernel.memory.entry(at: slot).isHuge {
        kernel.memory.updateEntry(at: slot) { PageTableEntry(bits: $0.bits & ~PageTableEntry.pinned) }
      }
    }
  }

  private mutating func forEachPinnable(
    _ address: GuestAddress, pages: Int, in domain: Domain,
    _ body: (inout Kernel, GuestAddress, _ slot: PhysicalAddress, Frame) -> Void
  ) {
    for page in 0..<pages {
      let at = address.advanced(byPages: page)
      guard let (slot, _) = domain.shell.space.location(of: at, in: memory),
        let frame = frame(at: domain.shell.space.entry(of: at, in: memory).address)
      else { continue }
      body(&self, at, slot, frame)
    }
  }

  /// At an environment's end: its pins and bindings go before its mappings do.
  mutating func releaseGuarantees(of id: EnvironmentID) {
    // Nothing comes into its pages any more.
    let rings = closePacketRings(of: id)
    guard let domain = domains[id] else { return }
    for (page, count) in domain.pinned {
      guard let frame = frame(at: domain.shell.space.entry(of: page, in: memory).address) else { continue }
      for _ in 0..<count { frames.unpin(frame) }
    }
    let vectors = domain.exceptionStacks.values.reduce(0) { $0 + $1.vectors.count }
    releaseBindings(
      vectors + domain.guarantees.count + (domain.eventBinding == nil ? 0 : 1)
        + (domain.predicate == nil ? 0 : 1) + rings, of: id)
    domains[id]?.pinned = [:]
    domains[id]?.guarantees = []
    domains[id]?.exceptionStacks = [:]
    domains[id]?.eventBinding = nil
    domains[id]?.predicate = nil
  }

  mutating func chargeBindings(_ count: Int, to id: EnvironmentID) throws(Refusal) {
    do { try capabilities.quotas.charge(UInt64(count), .bindings, to: id) } catch { throw .quota }
  }
  mutating func releaseBindings(_ count: Int, of id: EnvironmentID) {
    do { try capabilities.quotas.release(UInt64(count), .bindings, of: id) } catch {
      logFault("releasing bindings of \(id): \(error)")
    }
    settleRevocation(of: id)
  }
}
