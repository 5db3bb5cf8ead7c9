/// One exocall to be made: its number in the call table and up to five arguments.
public struct RingRequest {
  public var call: UInt32
  public var arguments: (UInt64, UInt64, UInt64, UInt64, UInt64)

  @inline(__always)
  public init(
    _ call: UInt32, _ first: UInt64 = 0, _ second: UInt64 = 0, _ third: UInt64 = 0, _ fourth: UInt64 = 0,
    _ fifth: UInt64 = 0
  ) {
    self.call = call
    arguments = (first, second, third, fourth, fifth)
  }
}

/// What came back: a result, negative for an error number, and up to five values.
public struct RingAnswer {
  public var result: Int64
  public var values: (UInt64, UInt64, UInt64, UInt64, UInt64)
}

/// Stands for a request that was submitted, until its answer is taken. It is good for one answer.
public struct RingTicket: Equatable, Sendable {
  let tag: UInt64
}
