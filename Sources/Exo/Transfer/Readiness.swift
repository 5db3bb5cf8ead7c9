import ExoABI

/// By what an environment that has not been started is entered all the same: a transfer of its maker's, on the maker's virtual
/// processor and time. What is short need not have a virtual processor of its own, which would cost many times as much. It
/// gets the one that it is on, and is started for good, where the maker does not wait for it any longer (`ProcessorLoop.abandon`).
///
/// Once it has come back, it can be made what it was. Its translations stay then, and they are most of what an environment
/// costs where KVM shadows page tables.
struct Readiness: Sendable {
  let connection: UInt32
  /// Most pages of one, so that little is kept for it and looked through under the machine's lock.
  static let pageLimit = 4096

  /// Its pages as they were bound, and where their entries lie: what it may have changed without an exocall shows there.
  let pages: [Page]

  struct Page: Sendable {
    let slot: PhysicalAddress
    let entry: PageTableEntry

    func isAsItWas(_ now: PageTableEntry) -> Bool {
      let marks = PageTableEntry.accessed | PageTableEntry.dirty
      return (now.bits ^ entry.bits) & ~marks == 0
    }
  }
}

extension Kernel {
  /// Makes a child ready, or ready again. The caller has found that nothing lasts of what it did by exocalls.
  ///
  /// Any frame of a page that it has written to and that nobody else has mapped is zeroed. What others have mapped too
  /// is theirs to fill. Returns the connection's number for the maker.
  ///
  /// - Throws: `absent` if the maker has no entry, `badAddress`, `outOfRange` if it has too many pages or huge ones, and what a connection may be refused for; `busy` if it cannot be made
  ///   what it was.
  mutating func ready(
    _ child: EnvironmentID, at point: EntryPoint, by maker: EnvironmentID, through handle: CapabilityHandle
  ) throws(Refusal) -> Int {
    guard let domain = domains[child], domains[maker]?.entry != nil else { throw .absent }
    if let readiness = domain.readiness {
      guard let connection = connections[readiness.connection], connection.isOpen,
        domain.entry == point.entry,
        let end = connection.caller
      else { throw .busy }
      try restore(domain, to: readiness)
      domain.shell.transfer.reset(to: point.entry, stack: point.stack, in: memory)
      return end.number
    }
    try bindEntry(point.entry, in: child)
    do throws(Refusal) {
      var pages: [Readiness.Page] = []
      domain.shell.space.forEachMappedPage(in: memory) { _, entry, slot in
        // The kit is bound without a grant.
        if !entry.granted.isEmpty { pages.append(Readiness.Page(slot: slot, entry: memory.entry(at: slot))) }
      }
      guard pages.count <= Readiness.pageLimit, !pages.contains(where: { $0.entry.isHuge }) else {
        throw .outOfRange
      }
      let (number, _, _) = try join(maker, to: child, through: nil, standingOn: handle)
      guard let key = domains[maker]?.connections[number] else { throw .absent }
      domains[child]?.readiness = Readiness(connection: key, pages: pages)
      domain.shell.transfer.reset(to: point.entry, stack: point.stack, in: memory)
      return number
    } catch {
      try bindEntry(nil, in: child)
      throw error
    }
  }

  private func restore(_ domain: Domain, to readiness: Readiness) throws(Refusal) {
    guard domain.revocation == nil, domain.repossessions == 0 else { throw .busy }
    var written: [Frame] = []
    for page in readiness.pages {
      let entry = memory.entry(at: page.slot)
      guard page.isAsItWas(entry) else { throw .busy }
      guard entry.bits & PageTableEntry.dirty != 0, let frame = frame(at: entry.address),
        frames.mappingCount(of: frame) == 1
      else { continue }
      written.append(frame)
    }
    for frame in written { memory.zero(frame) }
    memory.zero(domain.shell.trap)
    equip(domain.shell)
  }
}
