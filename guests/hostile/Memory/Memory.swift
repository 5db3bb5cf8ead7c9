/// Attacks on memory.
extension Attack {
  static var memory: [Attack] {
    [
      nucleus, nucleusStore, kit, tableWindow, foreignFrames, freedFrames, leftovers, usedSpaces,
      revokedFrames,
      grantedLess, addresses, pageVectors, hugePages,
    ]
  }
}
