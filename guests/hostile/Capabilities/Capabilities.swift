/// Attacks on authority.
extension Attack {
  static var capabilities: [Attack] {
    [forgedHandles, staleHandles, foreignHandles, wrongKinds, moreRights, environments, regions]
  }
}
