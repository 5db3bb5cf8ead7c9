/// What a capability to a filter or a template stands for.
///
/// Authority over packets is a tree, like the one over frames. The machine's owner gives an environment what it may claim and
/// send at most (`Machine.admit`). From that the environment makes narrower ones, which it can grant to others; a claim
/// is one with a ring that its packets go to. Each depends on capabilities of its owner, and goes when one of these does.
struct NetworkAuthority {
  /// Any of them; one, if an environment made it.
  var filters: [Filter]
  let owner: EnvironmentID
  /// The owner's capabilities that it was made under and that consented to it.
  var standsOn: [CapabilityHandle] = []
  /// Whether it is one of its owner's bindings: an environment made it.
  var isCharged = false
  /// In the classifier, if packets are delivered by it.
  var binding: FilterID?

  /// Whether whatever matches the filter is covered.
  func covers(_ filter: Filter) -> Bool { filters.contains { filter.implies($0) } }
}
