/// Attacks with the processor's own instructions.
extension Attack {
  static var processor: [Attack] {
    [
      privileged, halt, ports, flags, segments, compatibility, interrupts, systemCalls, bases, doorbell,
      doorbellLoad, dirtyProcessor, systemCallHandler, nucleusCalls,
      keys, keysLeft, keysSent,
    ]
  }
}
