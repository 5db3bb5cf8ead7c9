/// Handlers of packets, and the memory that they write.
extension Kernel {
  /// Frames of a capability that a handler is to read and write.
  struct RegionDescription: Hashable, Sendable {
    var handle: CapabilityHandle
    /// Within what the capability is for.
    var first: Int
    var pages: Int
  }

  /// Has a handler run on what a claim of the environment's own matches. Returns why a program is none.
  mutating func bindHandler(
    _ handle: CapabilityHandle, programAt address: GuestAddress, length: Int,
    region description: RegionDescription? = nil, in id: EnvironmentID
  ) throws(Refusal) -> PacketHandler.Fault? {
    let resource: Resource
    do { resource = try capabilities.lookup(handle, in: id, kind: .filter, rights: .control) } catch {
      throw Refusal(error)
    }
    // It speaks for the ring, so it is for who owns both.
    guard case .filter(let number) = resource, network.withState({ $0.authorities[number]?.owner == id })
    else {
      throw .notPermitted
    }
    var region: HandlerRegion?
    if let description { region = try handlerRegion(description, in: id) }
    var handler: PacketHandler?
    if length > 0 {
      let bytes = try copyIn(address, count: length, of: id)
      do throws(PacketHandler.Fault) {
        handler = try PacketHandler(bytes, regionSize: region?.size ?? 0)
      } catch { return error }
    }
    try network.withState { (state) throws(Refusal) in try state.bind(handler, region, to: number) }
    if let region { domains[id]?.handlerRegions.insert(region.handle) }
    return nil
  }

  private func handlerRegion(
    _ description: RegionDescription, in id: EnvironmentID
  ) throws(Refusal) -> HandlerRegion {
    let held: Authority
    do { held = try capabilities.lookup(description.handle, in: id) } catch { throw Refusal(error) }
    guard case .frames(let run) = held.resource else { throw .badCapability }
    guard held.rights.memory.isSuperset(of: [.read, .write]) else { throw .notPermitted }
    guard description.first + description.pages <= Int(run.count) else { throw .outOfRange }
    let first = Frame(run.first + UInt32(description.first))
    guard (0..<description.pages).allSatisfy({ frames.kind(of: first.advanced(by: $0)) == .data }) else {
      throw .notPermitted
    }
    return HandlerRegion(
      memory: memory, start: first.address, size: description.pages << 12, handle: description.handle)
  }

  /// A capability is no more: when this returns no handler of its environment writes to what it was for.
  mutating func breakHandlers(of removed: CapabilitySpace.Removed) {
    guard domains[removed.environment]?.handlerRegions.remove(removed.handle) != nil else { return }
    network.withState { $0.unbindHandlers(standingOn: removed.handle, of: removed.environment) }
  }
}
