import ExoABI

/// Handing capabilities on, and using those to other environments.
extension Kernel {
  /// The part of what a handle names that a request narrows it to. `pages` 0: all from `first` on.
  private func narrowed(
    _ handle: CapabilityHandle, first: Int, pages: Int, rights: CapabilityRights, in id: EnvironmentID
  ) throws(Refusal) -> Authority {
    let held: Authority
    do { held = try capabilities.lookup(handle, in: id) } catch { throw Refusal(error) }
    guard case .frames(let run) = held.resource else {
      guard first == 0, pages <= 1 else { throw .outOfRange }
      return Authority(held.resource, rights)
    }
    let count = pages == 0 ? Int(run.count) - first : pages
    guard first < Int(run.count), count > 0, first + count <= Int(run.count),
      let part = Resource.frames(Frame(run.first + UInt32(first)), count: UInt32(count))
    else { throw .outOfRange }
    return Authority(part, rights)
  }

  mutating func derive(
    _ handle: CapabilityHandle, first: Int, pages: Int, rights: CapabilityRights, in id: EnvironmentID
  ) throws(Refusal) -> CapabilityHandle {
    let wanted = try narrowed(handle, first: first, pages: pages, rights: rights, in: id)
    do { return try capabilities.derive(handle, in: id, as: wanted) } catch { throw Refusal(error) }
  }

  mutating func grant(
    _ handle: CapabilityHandle, to receiver: CapabilityHandle, first: Int, pages: Int,
    rights: CapabilityRights, in id: EnvironmentID
  ) throws(Refusal) -> CapabilityHandle {
    let target = try environment(receiver, needing: .deliver, in: id)
    let wanted = try narrowed(handle, first: first, pages: pages, rights: rights, in: id)
    do { return try capabilities.grant(handle, from: id, to: target, as: wanted) } catch {
      throw Refusal(error)
    }
  }

  /// Takes back everything derived from a capability, in every environment, and what stood on it.
  mutating func revoke(_ handle: CapabilityHandle, in id: EnvironmentID) throws(Refusal) -> Int {
    let removed: [CapabilitySpace.Removed]
    do { removed = try capabilities.revoke(handle, in: id) } catch { throw Refusal(error) }
    for capability in removed { breakBindings(of: capability) }
    return removed.count
  }

  func inspect(_ handle: CapabilityHandle, in id: EnvironmentID) throws(Refusal) -> Authority {
    do { return try capabilities.inspect(handle, in: id).authority } catch { throw Refusal(error) }
  }

  /// The next of an environment's own capabilities by index, 0 after the last.
  func next(after handle: CapabilityHandle, in id: EnvironmentID) -> CapabilityHandle {
    capabilities.next(after: handle.rawValue == 0 ? nil : handle, of: id) ?? CapabilityHandle(rawValue: 0)
  }

  /// Which environment a handle names, if it gives these rights to it.
  func environment(
    _ handle: CapabilityHandle, needing rights: CapabilityRights, in id: EnvironmentID
  ) throws(Refusal) -> EnvironmentID {
    let resource: Resource
    do { resource = try capabilities.lookup(handle, in: id, kind: .environment, rights: rights) } catch {
      throw Refusal(error)
    }
    guard case .environment(let target) = resource else { throw .badCapability }
    return target
  }

  /// Maps frames of one's own in an environment one controls: it needs no capability to them, and keeps the mapping
  /// only while it is given one or the mapper's stands. A capability is granted with the mapping, so that the
  /// invariant (no mapping without a capability) holds.
  mutating func map(
    into target: EnvironmentID, _ handle: CapabilityHandle, offset: Int, at address: GuestAddress, pages: Int,
    rights: Rights, by id: EnvironmentID
  ) throws(Refusal) {
    let part = try narrowed(
      handle, first: offset, pages: pages, rights: CapabilityRights(rights), in: id)
    let granted: CapabilityHandle
    do { granted = try capabilities.grant(handle, from: id, to: target, as: part) } catch {
      throw Refusal(error)
    }
    do { try map(granted, offset: 0, at: address, pages: pages, rights: rights, in: target) } catch {
      try drop(granted, in: target)
      throw error
    }
  }
}
