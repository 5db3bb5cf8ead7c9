import ExoABI

/// What an environment is asked to give back, and by when. Which of it to give is the environment's choice; past the deadline the
/// exokernel takes what is still owed (the abort protocol of Aegis) and says so in the environment's repossession vector.
struct Revocation: Sendable {
  /// What is asked for.
  let kind: Resource.Kind
  let amount: UInt64
  /// Monotonic nanoseconds.
  let deadline: UInt64
  /// Who is told of the outcome.
  let asker: Asker
  var given: UInt64 = 0
  var taken: UInt64 = 0

  enum Asker: Sendable {
    case environment(EnvironmentID, tag: UInt64)
    case host(@Sendable (_ given: UInt64, _ taken: UInt64) -> Void)

    /// Nil for the host's program.
    var environment: EnvironmentID? { if case .environment(let id, _) = self { id } else { nil } }
  }

  var owed: UInt64 { amount - given - taken }

  /// What is asked back can be had again only within the quota, which shrinks by it.
  static func quota(of kind: Resource.Kind) -> QuotaKind? {
    switch kind {
    case .frames: .frames
    case .environment: .environments
    case .gate, .region, .filter, .transmit: .bindings
    default: nil
    }
  }
  /// Whether the exokernel knows how to take it.
  static func isRevocable(_ kind: Resource.Kind) -> Bool { kind == .slices || quota(of: kind) != nil }
}
