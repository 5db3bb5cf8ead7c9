import Synchronization

/// The writing end of a pipe, which never waits: logic without a machine. `PipeWriter` waits.
public struct PipeProducer: ~Copyable {
  public let memory: PipeMemory
  var side: PipeSide
  /// Bytes written; the peer's word is not asked for it.
  public private(set) var written: UInt64 = 0
  /// Bytes read, as last seen and found right.
  private var read: UInt64 = 0
  private(set) var failure: PipeError?
  /// Whether the window may hold bytes.
  private var hasWindow = true

  @inline(__always)
  public init(_ memory: PipeMemory) {
    self.memory = memory
    side = PipeSide(
      own: memory.control + PipeMemory.writerOffset, peer: memory.control + PipeMemory.readerOffset)
  }

  @inline(__always)
  var room: UInt64 { memory.capacity &- (written &- read) }

  /// Writes what there is room for.
  /// - Parameters:
  ///   - bytes: what to write.
  ///   - whole: all or nothing.
  /// - Returns: how many bytes were written; 0 if there was no room.
  /// - Throws: `closed` if the reader is, `corrupt`, `vanished`; `tooLong` if it can never be done whole.
  @inline(__always)
  public mutating func offer(_ bytes: UnsafeRawBufferPointer, whole: Bool = false) throws(PipeError) -> Int {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return 0 }
    if UInt64(bytes.count) > room || failure != nil { try refresh(needing: whole ? bytes.count : 1) }
    // In a line of the reader's that changes only when it sleeps, wakes or closes.
    if PipeSide.isClosed(side.peerState) { throw .closed }
    let count = min(bytes.count, Int(room))
    if count == 0 || whole && count < bytes.count { return 0 }
    memory.store(start, count: count, at: written)
    publish(start, count, inOrder: true)
    return count
  }

  /// Writes one byte; false if there was no room. The pipe compiled in.
  /// - Throws: as `offer`.
  @inline(__always)
  public mutating func offer(byte: UInt8) throws(PipeError) -> Bool {
    if room == 0 || failure != nil { try refresh(needing: 1) }
    if PipeSide.isClosed(side.peerState) { throw .closed }
    if room == 0 { return false }
    memory.place(written).storeBytes(of: byte, as: UInt8.self)
    let stamp = memory.word(PipeMemory.stampOffset)
    stamp.pointee.store(PipeMemory.updating, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    memory.window.storeBytes(of: byte, as: UInt8.self)
    memory.word(PipeMemory.countOffset).pointee.store(1, ordering: .relaxed)
    hasWindow = true
    written &+= 1
    stamp.pointee.store(written, ordering: .sequentiallyConsistent)
    return true
  }

  /// Says that the next bytes are there.
  /// - Parameter inOrder: before all that this end loads afterwards.
  @inline(__always)
  mutating func publish(_ start: UnsafeRawPointer, _ count: Int, inOrder: Bool) {
    let stamp = memory.word(PipeMemory.stampOffset)
    let isSmall = count <= PipeMemory.windowSize
    if isSmall || hasWindow {
      // The window is of one write: who finds the same stamp after reading it as before has read that.
      stamp.pointee.store(PipeMemory.updating, ordering: .relaxed)
      atomicMemoryFence(ordering: .releasing)
      if isSmall { memory.window.copyMemory(from: start, byteCount: count) }
      memory.word(PipeMemory.countOffset).pointee.store(isSmall ? UInt64(count) : 0, ordering: .relaxed)
      hasWindow = isSmall
    }
    written &+= UInt64(count)
    if inOrder {
      stamp.pointee.store(written, ordering: .sequentiallyConsistent)
    } else {
      stamp.pointee.store(written, ordering: .releasing)
    }
  }

  /// Looks how far the reader is.
  mutating func refresh(needing count: Int) throws(PipeError) {
    if let failure { throw failure }
    if UInt64(count) > memory.capacity { throw .tooLong }
    let now = memory.word(PipeMemory.readOffset).pointee.load(ordering: .acquiring)
    guard now &- read <= written &- read else { throw fail(.corrupt) }
    read = now
    if room < UInt64(count), !memory.isIntact { throw fail(.vanished) }
  }

  private mutating func fail(_ error: PipeError) -> PipeError {
    let error = memory.isIntact ? error : .vanished
    failure = error
    return error
  }

  /// Whether the reader has read all.
  public mutating func isDrained() throws(PipeError) -> Bool {
    try refresh(needing: 0)
    return read == written
  }
  /// Whether the reader has found nothing and waits.
  public var readerSleeps: Bool { side.peerSleeps }
  public var readerIsClosed: Bool { PipeSide.isClosed(side.peerState) }
  /// Whether the reader sleeps and is to be woken: to be asked after each success.
  @inline(__always)
  public mutating func mustWake() -> Bool { side.mustWake() }
  /// Before a last look and sleep, and after it.
  public mutating func announceSleep() { side.announce() }
  public mutating func endSleep() { side.settle() }
  /// No more will come: the reader finds the end once it has read the rest. It is to be woken if it sleeps.
  public mutating func close() { side.close() }
}
