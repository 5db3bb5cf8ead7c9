/// Attacks on the exocall rings.
extension Attack {
  static var rings: [Attack] {
    [ringProtocol, ringJump, garbage, ringRace, buffers, lateBuffer, waitForEver, exitPending, exitTwice]
  }
}
