import Synchronization

/// The reading end of a pipe, which never waits: logic without a machine. `PipeReader` waits.
public struct PipeConsumer: ~Copyable {
  public let memory: PipeMemory
  var side: PipeSide
  /// Bytes read.
  public private(set) var position: UInt64 = 0
  /// Bytes written, as last seen and found right.
  private var seen: UInt64 = 0
  private var failure: PipeError?

  @inline(__always)
  public init(_ memory: PipeMemory) {
    self.memory = memory
    side = PipeSide(
      own: memory.control + PipeMemory.readerOffset, peer: memory.control + PipeMemory.writerOffset)
  }

  /// Reads what is there and fits.
  /// - Returns: how many bytes; 0 at the end of the stream; nil if there is nothing yet.
  /// - Throws: `corrupt`, `vanished`.
  @inline(__always)
  public mutating func take(into bytes: UnsafeMutableRawBufferPointer) throws(PipeError) -> Int? {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return nil }
    if seen == position {
      let stamp = memory.word(PipeMemory.stampOffset).pointee.load(ordering: .acquiring)
      if stamp == position || stamp == PipeMemory.updating || failure != nil { return try lookForEnd() }
      let available = stamp &- position
      guard available <= memory.capacity else { throw fail(.corrupt) }
      if available <= UInt64(min(bytes.count, PipeMemory.windowSize)),
        fromWindow(start, Int(available), stamp)
      {
        seen = stamp
        advance(Int(available), inOrder: true)
        return Int(available)
      }
      seen = stamp
    }
    let count = min(bytes.count, Int(seen &- position))
    memory.load(start, count: count, at: position)
    advance(count, inOrder: true)
    return count
  }

  /// The next byte; nil if there is nothing yet, or the stream is at its end: `isAtEnd` tells. The pipe compiled in.
  /// - Throws: as `take`.
  @inline(__always)
  public mutating func takeByte() throws(PipeError) -> UInt8? {
    if seen == position {
      let stamp = memory.word(PipeMemory.stampOffset).pointee.load(ordering: .acquiring)
      if stamp == position || stamp == PipeMemory.updating { return nil }
      guard stamp &- position <= memory.capacity, failure == nil else { throw fail(.corrupt) }
      seen = stamp
      if stamp &- position == 1, memory.word(PipeMemory.countOffset).pointee.load(ordering: .relaxed) == 1 {
        let byte = memory.window.load(as: UInt8.self)
        atomicMemoryFence(ordering: .acquiring)
        if memory.word(PipeMemory.stampOffset).pointee.load(ordering: .relaxed) == stamp {
          advance(1, inOrder: true)
          return byte
        }
      }
    }
    let byte = memory.place(position).load(as: UInt8.self)
    advance(1, inOrder: true)
    return byte
  }

  /// Copies from the window; false if it is not of the write that ended at `stamp`, or does not reach far enough back.
  @inline(__always)
  private func fromWindow(_ out: UnsafeMutableRawPointer, _ count: Int, _ stamp: UInt64) -> Bool {
    let held = memory.word(PipeMemory.countOffset).pointee.load(ordering: .relaxed)
    guard held <= UInt64(PipeMemory.windowSize), UInt64(count) <= held else { return false }
    out.copyMemory(from: memory.window + (Int(held) - count), byteCount: count)
    atomicMemoryFence(ordering: .acquiring)
    return memory.word(PipeMemory.stampOffset).pointee.load(ordering: .relaxed) == stamp
  }

  /// Gives room back.
  /// - Parameter inOrder: before all that this end loads afterwards.
  @inline(__always)
  mutating func advance(_ count: Int, inOrder: Bool) {
    position &+= UInt64(count)
    let read = memory.word(PipeMemory.readOffset)
    if inOrder {
      read.pointee.store(position, ordering: .sequentiallyConsistent)
    } else {
      read.pointee.store(position, ordering: .releasing)
    }
  }

  /// There is nothing: whether there will be.
  mutating func lookForEnd() throws(PipeError) -> Int? {
    if let failure { throw failure }
    if !memory.isIntact { throw fail(.vanished) }
    guard PipeSide.isClosed(side.peerState) else { return nil }
    // It closes after its last write.
    let stamp = memory.word(PipeMemory.stampOffset).pointee.load(ordering: .acquiring)
    return stamp == position ? 0 : nil
  }

  private mutating func fail(_ error: PipeError) -> PipeError {
    let error = memory.isIntact ? error : .vanished
    failure = error
    return error
  }

  /// Looks so often, one load each, whether something has come.
  @inline(__always)
  public func watch(_ turns: Int) {
    let stamp = memory.word(PipeMemory.stampOffset)
    var left = turns
    while left > 0, stamp.pointee.load(ordering: .acquiring) == position { left &-= 1 }
  }

  /// Whether something has come that was not seen before: one load.
  @inline(__always)
  var hasNews: Bool {
    let stamp = memory.word(PipeMemory.stampOffset).pointee.load(ordering: .acquiring)
    return stamp != position && stamp != PipeMemory.updating
  }
  /// Bytes that have been seen to be there.
  var held: UInt64 { seen &- position }
  /// Takes note of what is there without reading it; false if there is nothing.
  mutating func look() throws(PipeError) -> Bool {
    if let failure { throw failure }
    if seen != position { return true }
    let stamp = memory.word(PipeMemory.stampOffset).pointee.load(ordering: .acquiring)
    if stamp == position || stamp == PipeMemory.updating { return false }
    guard stamp &- position <= memory.capacity else { throw fail(.corrupt) }
    seen = stamp
    return true
  }

  /// Whether the writer has closed and all was read.
  public mutating func isAtEnd() throws(PipeError) -> Bool {
    if try look() { return false }
    return try lookForEnd() == 0
  }
  /// Whether the writer sleeps for want of room and is to be woken: to be asked after each success.
  @inline(__always)
  public mutating func mustWake() -> Bool { side.mustWake() }
  /// Before a last look and sleep, and after it.
  public mutating func announceSleep() { side.announce() }
  public mutating func endSleep() { side.settle() }
  /// Nothing more is read: who writes is told. It is to be woken if it sleeps.
  public mutating func close() { side.close() }
}
