/// Attacks on memory.
extension Attack {
  static var memory: [Attack] {
    [
      nucleus, nucleusStore, kit, tableWindow, foreignFrames, freedFrames, leftovers, revokedFrames,
      grantedLess, addresses, pageVectors, hugePages,
    ]
  }
}
