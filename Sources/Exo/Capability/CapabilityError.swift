import ExoABI

/// Why an operation on capabilities was refused. Nothing was changed.
enum CapabilityError: Error, Hashable, Sendable {
  /// There is no such environment, or it is ending.
  case noEnvironment(EnvironmentID)
  /// The index or generation was never issued to this environment.
  case badHandle(CapabilityHandle)
  /// The entry was given up or revoked; its index is at generation `current` now.
  case stale(CapabilityHandle, current: UInt32)
  case wrongKind(CapabilityHandle, is: Resource.Kind, wanted: Resource.Kind)
  case missingRights(CapabilityHandle, holds: CapabilityRights, wanted: CapabilityRights)
  case notDominated(CapabilityHandle, holds: Authority, wanted: Authority)
  case quota(QuotaError)
  /// The object has its first capability already: all others must come from it.
  case alreadyMinted(Resource)
  /// Rights that mean nothing for the kind.
  case meaninglessRights(Resource.Kind, CapabilityRights)

  /// The EXO_E* number a guest is told.
  var number: Int32 {
    switch self {
    case .noEnvironment: EXO_ENOENT
    case .badHandle, .wrongKind: EXO_EBADF
    case .stale: EXO_ESTALE
    case .missingRights, .notDominated: EXO_EPERM
    case .quota(let error): error.number
    case .alreadyMinted: EXO_EEXIST
    case .meaninglessRights: EXO_EINVAL
    }
  }
}

extension CapabilityError: CustomStringConvertible {
  var description: String {
    switch self {
    case .noEnvironment(let environment): "\(environment) does not exist"
    case .badHandle(let handle): "\(handle) was never issued"
    case .stale(let handle, let current): "\(handle) is stale: its index is at generation \(current)"
    case .wrongKind(let handle, let kind, let wanted): "\(handle) is of kind \(kind), not \(wanted)"
    case .missingRights(let handle, let held, let wanted): "\(handle) has rights \(held), not \(wanted)"
    case .notDominated(let handle, let held, let wanted): "\(handle), \(held), does not cover \(wanted)"
    case .quota(let error): "\(error)"
    case .alreadyMinted(let resource): "\(resource): a capability exists already"
    case .meaninglessRights(let kind, let rights): "rights \(rights) mean nothing for kind \(kind)"
    }
  }
}
