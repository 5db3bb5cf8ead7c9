import ExoABI

extension Kernel {
  /// Binds frames of a capability at consecutive pages: all or none.
  mutating func map(
    _ handle: CapabilityHandle, offset: Int, at address: GuestAddress, pages: Int, rights: Rights,
    huge: Bool = false, in id: EnvironmentID
  ) throws(Refusal) {
    // May the environment do this with these frames?
    let held: Authority
    do { held = try capabilities.lookup(handle, in: id) } catch { throw Refusal(error) }
    guard case .frames(let run) = held.resource else { throw .badCapability }
    guard rights.onHardware.isSubset(of: held.rights.memory), !held.rights.memory.isEmpty else {
      throw .notPermitted
    }
    guard offset + pages <= Int(run.count) else { throw .outOfRange }
    // Is the place free?
    guard let space = space(of: id) else { throw .absent }
    guard isFree(address, pages: pages, in: space) else { throw .exists }
    let first = Frame(run.first + UInt32(offset))
    guard huge else {
      return try mapPages(
        first, at: address, pages: pages, rights: rights, granted: held.rights.memory, in: id)
    }
    guard AddressSpace.canBeHuge(first, at: address, pages: pages) else { throw .invalid }
    for page in stride(from: 0, to: pages, by: AddressSpace.hugePages) {
      do {
        try mapPage(
          first.advanced(by: page), at: address.advanced(byPages: page), rights: rights,
          granted: held.rights.memory, huge: true, in: id)
      } catch {
        if page > 0 { try unmap(address, pages: page, in: id) }
        throw error
      }
    }
  }

  /// Gives a capability up. With the first one to its frames, the frames go: from everybody.
  mutating func drop(_ handle: CapabilityHandle, in id: EnvironmentID) throws(Refusal) {
    let inspection: CapabilitySpace.Inspection
    do { inspection = try capabilities.inspect(handle, in: id) } catch { throw Refusal(error) }
    if inspection.isRoot { try refusePinned(inspection.authority.resource) }
    let removed: [CapabilitySpace.Removed]
    do { removed = try capabilities.drop(handle, in: id) } catch { throw Refusal(error) }
    for capability in removed { breakBindings(of: capability) }
  }

  /// A frame under an exception stack is a guaranteed mapping: it stays until the binding goes.
  private func refusePinned(_ resource: Resource) throws(Refusal) {
    guard case .frames(let run) = resource else { return }
    for number in run.first..<run.end where frames.pins(of: Frame(number)) > 0 { throw .busy }
  }

  /// Takes away what stood on a capability that is no more. The root's frames are retired; for any other, the mappings
  /// of its environment that no capability of it covers any more.
  /// - Parameter mapsNothing: its environment is known to map nothing.
  mutating func breakBindings(of removed: CapabilitySpace.Removed, mapsNothing: Bool = false) {
    if case .environment(let owned) = removed.authority.resource, removed.isRoot { addOrphan(owned) }
    if case .slices(let processor, let run) = removed.authority.resource, removed.isRoot {
      freeSlices(processor: processor, run)
    }
    if case .region(let number) = removed.authority.resource, removed.isRoot {
      regions[number] = nil
      releaseBindings(1, of: removed.environment)
    }
    if case .gate(let number) = removed.authority.resource {
      if removed.isRoot {
        gates[number] = nil
        closeConnections(to: number)
        releaseBindings(1, of: removed.environment)
      } else {
        closeConnections(standingOn: removed.handle, in: removed.environment)
      }
    }
    if case .environment = removed.authority.resource {
      closeConnections(standingOn: removed.handle, in: removed.environment)
    }
    breakNetwork(of: removed)
    guard case .frames(let run) = removed.authority.resource else { return }
    breakHandlers(of: removed)
    if removed.isRoot {
      retire(Frame(run.first), count: Int(run.count))
      removeRun(Frame(run.first), of: removed.environment)
      uncharge(Int(run.count), of: removed.environment)
      return
    }
    guard !mapsNothing, let domain = domains[removed.environment] else { return }
    var uncovered: [Frame] = []
    for number in run.first..<run.end {
      let frame = Frame(number)
      for mapping in frames.mappings(of: frame) where mapping.environment == removed.environment {
        let granted = domain.shell.space.entry(of: mapping.address, in: memory).granted
        if capabilities.holdsFrame(frame, granted, in: removed.environment) { continue }
        uncovered += unbind(mapping)
      }
    }
    forget(uncovered, in: removed.environment)
    // Also what the environment unbound itself before: its authority ends here.
    settle(removed.environment)
  }
}

extension Refusal {
  /// The errno of a refusal by the capability space.
  init(_ error: CapabilityError) { self.init(code: error.number) }
}
