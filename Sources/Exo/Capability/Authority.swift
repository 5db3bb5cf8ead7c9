/// Authority: some objects, and what may be done with them. A capability is authority that an environment holds.
struct Authority: Hashable, Sendable, CustomStringConvertible {
  var resource: Resource
  var rights: CapabilityRights

  init(_ resource: Resource, _ rights: CapabilityRights) {
    self.resource = resource
    self.rights = rights
  }

  /// This authority with at most `rights`.
  func limited(to rights: CapabilityRights) -> Authority {
    Authority(resource, self.rights.intersection(rights))
  }

  var description: String { "\(resource) \(rights)" }
}

/// The authority rule. Whoever has `holder` may have `wanted`: the same objects or some of them, the same rights
/// or fewer. It is a partial order, and the only place where the exokernel compares authority.
func dominates(_ holder: Authority, _ wanted: Authority) -> Bool {
  holder.resource.contains(wanted.resource) && wanted.rights.isSubset(of: holder.rights)
}
