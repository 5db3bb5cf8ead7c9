import ExoABI

/// Why a quota was not given, charged or returned. Nothing was changed.
enum QuotaError: Error, Hashable, Sendable, CustomStringConvertible {
  case noAccount(EnvironmentID)
  case accountExists(EnvironmentID)
  /// More was asked for than the account has left.
  case exceeded(EnvironmentID, QuotaKind, asked: UInt64, available: UInt64)
  /// More was released than had been charged: an error of the exokernel, not of a guest.
  case notCharged(EnvironmentID, QuotaKind, released: UInt64, used: UInt64)
  /// The account cannot close while it is charged for something.
  case stillCharged(EnvironmentID, QuotaKind, used: UInt64)

  /// The EXO_E* number a guest is told.
  var number: Int32 {
    switch self {
    case .noAccount: EXO_ENOENT
    case .accountExists: EXO_EEXIST
    case .exceeded: EXO_EDQUOT
    case .notCharged: EXO_EINVAL
    case .stillCharged: EXO_EBUSY
    }
  }

  var description: String {
    switch self {
    case .noAccount(let environment): "\(environment) has no quota"
    case .accountExists(let environment): "\(environment) has a quota already"
    case .exceeded(let environment, let kind, let asked, let available):
      "\(environment) asked for \(asked) of its quota of \(kind) and has \(available) left"
    case .notCharged(let environment, let kind, let released, let used):
      "\(environment) released \(released) of its quota of \(kind), of which \(used) was charged"
    case .stillCharged(let environment, let kind, let used):
      "\(environment) is still charged for \(used) of its quota of \(kind)"
    }
  }
}
