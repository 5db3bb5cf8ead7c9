import Synchronization

// Streams of many bytes, a piece at a time, so that one end copies in what the other copies out.
//
// What a line of memory costs that goes from one processor to the other depends on where it is found. A ring of 8 KiB whose
// lines go to and fro stays in the caches nearest to both processors, whatever else streams through them, and takes less
// time than one of 64 KiB. And a store that is ordered before all later loads waits until every line copied before it has
// come: so none is made for each piece, but one before an end waits or returns.

extension PipeMemory {
  /// Bytes copied before the other end is told: enough to make up for telling it, few enough that both have something to do.
  @inline(__always)
  var piece: Int { min(4096, Int(capacity) / 2) }
}

extension PipeProducer {
  /// Writes the next piece of more to come, whole or not at all. Before this end waits or does something else,
  /// `mustWakeAfterPieces` is to be asked.
  /// - Returns: how many bytes were written; 0 if there was no room for all of the piece.
  /// - Throws: `closed` if the reader is, `corrupt`, `vanished`.
  @inline(__always)
  public mutating func offerPiece(_ bytes: UnsafeRawBufferPointer) throws(PipeError) -> Int {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return 0 }
    let count = min(bytes.count, memory.piece)
    if UInt64(count) > room || failure != nil { try refresh(needing: count) }
    if PipeSide.isClosed(side.peerState) { throw .closed }
    if UInt64(count) > room { return 0 }
    memory.store(start, count: count, at: written)
    publish(start, count, inOrder: false)
    return count
  }

  /// Looks so often, one load each, whether there is room for the next piece of so many bytes.
  @inline(__always)
  public func watch(_ turns: Int, for count: Int) {
    let read = memory.word(PipeMemory.readOffset)
    let most = memory.capacity &- UInt64(min(count, memory.piece))
    var left = turns
    while left > 0, written &- read.pointee.load(ordering: .acquiring) > most { left &-= 1 }
  }

  /// Whether the reader sleeps and is to be woken, after pieces.
  @inline(__always)
  public mutating func mustWakeAfterPieces() -> Bool {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return side.mustWake()
  }
}

extension PipeConsumer {
  /// Reads what is there and fits, and gives the room back a piece at a time. Before this end waits or does something else,
  /// `mustWakeAfterPieces` is to be asked.
  /// - Returns: how many bytes; 0 at the end of the stream; nil if there is nothing yet.
  /// - Throws: `corrupt`, `vanished`.
  @inline(__always)
  public mutating func takePieces(into bytes: UnsafeMutableRawBufferPointer) throws(PipeError) -> Int? {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return nil }
    if try !look() { return try lookForEnd() }
    let count = min(bytes.count, Int(held))
    var done = 0
    while done < count {
      let size = min(count - done, memory.piece)
      memory.load(start + done, count: size, at: position)
      advance(size, inOrder: false)
      done += size
    }
    return count
  }

  /// Whether the writer sleeps for want of room and is to be woken, after pieces.
  @inline(__always)
  public mutating func mustWakeAfterPieces() -> Bool {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return side.mustWake()
  }
}
