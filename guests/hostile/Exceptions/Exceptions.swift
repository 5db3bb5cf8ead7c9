/// Attacks on the delivery of exceptions.
extension Attack {
  static var exceptions: [Attack] {
    [
      exceptionStacks, exceptionHandlers, smallStack, pinnedStack, rebinding, stubFault, handlerUnmapped,
      nestedFaults,
      guarantees,
    ]
  }
}
