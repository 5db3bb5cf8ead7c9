import Synchronization

/// Where calls to an environment on another processor lie: a line each way, in memory that both ends share.
///
/// As in URPC (Bershad, Anderson, Lazowska and Levy, ACM TOCS 1991), where processors do not change address spaces to call: one
/// stores what it asks, the other watches for it and answers in place. A call and its answer move two lines and nothing else.
///
///     0    turn     of the call, from 1 on; `updating` while the rest of the line changes under an end that may be reading it
///          words    what is asked
///     128  turn     of the call that was answered last
///          words    the answer
///     256  state of the caller, see PipeSide
///     384  state of the callee
///
/// The caller alone stores the first line, the callee alone the second. What either finds there is copied first and used then. An
/// end that breaks the protocol spoils its own calls and nothing else.
public struct CallLine: Sendable {
  /// Six words, and a seventh that says what is asked, or how it went.
  public typealias Words = (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)

  /// A multiple of 64.
  let address: UInt
  static var updating: UInt64 { .max }
  static var answerOffset: UInt { 128 }
  static var callerOffset: UInt { 256 }
  static var calleeOffset: UInt { 384 }

  /// Bytes that it takes.
  public static var size: Int { 512 }

  /// - Parameter address: of zeroed memory.
  public init(address: UInt) {
    precondition(address & 63 == 0)
    self.address = address
  }

  @inline(__always)
  func turn(_ offset: UInt) -> UnsafeMutablePointer<Atomic<UInt64>> {
    UnsafeMutablePointer(bitPattern: address + offset).unsafelyUnwrapped
  }
  @inline(__always)
  func words(_ offset: UInt) -> UnsafeMutablePointer<Words> {
    UnsafeMutablePointer(bitPattern: address + offset + 8).unsafelyUnwrapped
  }
}

/// The end that calls, which never waits: logic without a machine. `LineCaller` waits.
public struct CallAsker: ~Copyable {
  let line: CallLine
  var side: PipeSide
  /// The last call's.
  private(set) var turn: UInt64 = 0
  /// Nobody reads the line of a call that was answered.
  private var isAnswered = true

  @inline(__always)
  public init(_ line: CallLine) {
    self.line = line
    side = PipeSide(own: line.address + CallLine.callerOffset, peer: line.address + CallLine.calleeOffset)
  }

  /// Asks. A call that was not answered is given up: its answer is dropped if it comes.
  /// - Throws: `closed` if nobody will answer.
  @inline(__always)
  public mutating func ask(_ words: CallLine.Words) throws(PipeError) {
    if PipeSide.isClosed(side.peerState) { throw .closed }
    let stamp = line.turn(0)
    if !isAnswered {
      stamp.pointee.store(CallLine.updating, ordering: .relaxed)
      atomicMemoryFence(ordering: .releasing)
    }
    line.words(0).pointee = words
    turn &+= 1
    isAnswered = false
    // Before the look whether the callee sleeps.
    stamp.pointee.store(turn, ordering: .sequentiallyConsistent)
  }

  /// The answer to the last call; nil if there is none yet.
  /// - Throws: `closed` if there will be none, `corrupt` for one to a call that was not made.
  @inline(__always)
  public mutating func answer() throws(PipeError) -> CallLine.Words? {
    guard line.turn(CallLine.answerOffset).pointee.load(ordering: .acquiring) == turn else {
      return try lookForEnd()
    }
    isAnswered = true
    return line.words(CallLine.answerOffset).pointee
  }

  private mutating func lookForEnd() throws(PipeError) -> CallLine.Words? {
    // Closed first: what it answered before is seen then.
    let isClosed = PipeSide.isClosed(side.peerState)
    let now = line.turn(CallLine.answerOffset).pointee.load(ordering: .acquiring)
    if now > turn { throw .corrupt }
    if now == turn {
      isAnswered = true
      return line.words(CallLine.answerOffset).pointee
    }
    if isClosed { throw .closed }
    return nil
  }

  /// Looks so often, one load each, whether the answer has come.
  @inline(__always)
  public func watch(_ turns: Int) {
    let stamp = line.turn(CallLine.answerOffset)
    var left = turns
    while left > 0, stamp.pointee.load(ordering: .acquiring) != turn { left &-= 1 }
  }

  /// Whether the callee sleeps and is to be woken: to be asked after each call.
  @inline(__always)
  public mutating func mustWake() -> Bool { side.mustWake() }
  /// Before a last look and sleep, and after it.
  public mutating func announceSleep() { side.announce() }
  public mutating func endSleep() { side.settle() }
  /// No more calls. The callee is to be woken if it sleeps.
  public mutating func close() { side.close() }
}

/// The end that answers: as `CallAsker`.
public struct CallAnswerer: ~Copyable {
  let line: CallLine
  var side: PipeSide
  /// The call taken last.
  private(set) var turn: UInt64 = 0

  @inline(__always)
  public init(_ line: CallLine) {
    self.line = line
    side = PipeSide(own: line.address + CallLine.calleeOffset, peer: line.address + CallLine.callerOffset)
  }

  /// Takes the next call; nil if there is none yet.
  /// - Throws: `closed` if there will be none, `corrupt` for one that came before the last.
  @inline(__always)
  public mutating func take() throws(PipeError) -> CallLine.Words? {
    let stamp = line.turn(0).pointee.load(ordering: .acquiring)
    if stamp == turn || stamp == CallLine.updating { return try lookForEnd(stamp) }
    guard stamp > turn else { throw .corrupt }
    let words = line.words(0).pointee
    atomicMemoryFence(ordering: .acquiring)
    // Given up for another one meanwhile, which is next.
    guard line.turn(0).pointee.load(ordering: .relaxed) == stamp else { return nil }
    turn = stamp
    return words
  }

  private func lookForEnd(_ stamp: UInt64) throws(PipeError) -> CallLine.Words? {
    guard PipeSide.isClosed(side.peerState) else { return nil }
    // It closes after its last call, which may have come since.
    if line.turn(0).pointee.load(ordering: .acquiring) == stamp { throw .closed }
    return nil
  }

  /// Answers the call that was taken last.
  @inline(__always)
  public func answer(_ words: CallLine.Words) {
    line.words(CallLine.answerOffset).pointee = words
    line.turn(CallLine.answerOffset).pointee.store(turn, ordering: .sequentiallyConsistent)
  }

  /// Looks so often, one load each, whether a call has come.
  @inline(__always)
  public func watch(_ turns: Int) {
    let stamp = line.turn(0)
    var left = turns
    while left > 0, stamp.pointee.load(ordering: .acquiring) == turn { left &-= 1 }
  }

  /// Whether the caller sleeps and is to be woken: to be asked after each answer.
  @inline(__always)
  public mutating func mustWake() -> Bool { side.mustWake() }
  /// Before a last look and sleep, and after it.
  public mutating func announceSleep() { side.announce() }
  public mutating func endSleep() { side.settle() }
  /// No more answers. The caller is to be woken if it sleeps.
  public mutating func close() { side.close() }
}
