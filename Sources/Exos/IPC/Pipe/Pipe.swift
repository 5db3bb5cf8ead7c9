#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// The reading end of a pipe.
  ///
  /// All that this trusts the writer with is what the bytes are. One that breaks the protocol, ends, or takes the memory away
  /// is an error here and nothing more (for memory that belongs to the writer see `SharedWindow`).
  public struct PipeReader: ~Copyable {
    public var consumer: PipeConsumer
    public var peer: PipePeer
    private var patience = PipePatience()
    /// Looks at a line before anything dearer: less than a microsecond.
    private static var glance: Int { 1000 }

    public init(_ memory: PipeMemory, from peer: PipePeer) {
      consumer = PipeConsumer(memory)
      self.peer = peer
    }

    /// Reads what is there, waiting for the first byte.
    /// - Parameters:
    ///   - bytes: what to write.
    ///   - deadline: nanoseconds of `Clock.now` at which to give up; nil for never, 0 not to wait.
    /// - Returns: how many bytes; 0 at the end of the stream.
    /// - Throws: `wouldBlock`, `timedOut`, `peerEnded` once all that it wrote was read, `corrupt`, `vanished`.
    public mutating func read(
      into bytes: UnsafeMutableRawBufferPointer, until deadline: UInt64? = nil
    ) throws(PipeError) -> Int {
      if bytes.isEmpty { return 0 }
      // An answer that is on its way from another processor comes within this.
      if !peer.isLocal, deadline != 0 { consumer.watch(Self.glance) }
      if let count = try consumer.take(into: bytes) {
        if consumer.mustWake() { peer.wake() }
        return count
      }
      return try waitAndRead(into: bytes, until: deadline)
    }

    private mutating func waitAndRead(
      into bytes: UnsafeMutableRawBufferPointer, until deadline: UInt64?
    ) throws(PipeError) -> Int {
      var result = 0
      // Each closure has one of the two; the compiler cannot tell.
      try withUnsafeMutablePointer(to: &consumer) { (consumer) throws(PipeError) in
        try patience.wait(
          for: &peer, until: deadline,
          announce: { if $0 { consumer.pointee.announceSleep() } else { consumer.pointee.endSleep() } }
        ) { () throws(PipeError) in
          guard let count = try consumer.pointee.take(into: bytes) else { return false }
          result = count
          return true
        }
      }
      if consumer.mustWake() { peer.wake() }
      return result
    }

    /// Reads until `bytes` is full; less only at the end of the stream. Room is given back while the rest is read.
    /// - Throws: as `read`. What was read before is lost.
    public mutating func readAll(
      into bytes: UnsafeMutableRawBufferPointer, until deadline: UInt64? = nil
    ) throws(PipeError) -> Int {
      var done = 0
      defer { wakeAfterPieces() }
      while done < bytes.count {
        let rest = UnsafeMutableRawBufferPointer(rebasing: bytes[done...])
        if !peer.isLocal, deadline != 0 { consumer.watch(Self.glance) }
        var count = try consumer.takePieces(into: rest)
        if count == nil {
          wakeAfterPieces()
          count = try waitAndRead(into: rest, until: deadline)
        }
        guard let count, count > 0 else { break }
        done += count
      }
      return done
    }

    private mutating func wakeAfterPieces() {
      if consumer.mustWakeAfterPieces() { peer.wake() }
    }

    /// Reads no more: the writer is told at its next write.
    public mutating func close() {
      consumer.close()
      if consumer.mustWake() { peer.wake() }
    }
  }

  /// The writing end of a pipe.
  public struct PipeWriter: ~Copyable {
    public var producer: PipeProducer
    public var peer: PipePeer
    private var patience = PipePatience()
    /// Looks at a line before anything dearer: less than a microsecond.
    private static var glance: Int { 1000 }

    public init(_ memory: PipeMemory, to peer: PipePeer) {
      producer = PipeProducer(memory)
      self.peer = peer
    }

    /// Writes all of it, waiting for room. What fits the pipe comes out in one piece; more than that goes through it while the
    /// reader reads.
    /// - Parameters:
    ///   - bytes: where to read to.
    ///   - deadline: nanoseconds of `Clock.now` at which to give up; nil for never, 0 not to wait.
    /// - Returns: how many bytes: all, or with a deadline those for which there was room in time.
    /// - Throws: `closed` if nobody will read it, `peerEnded`; `wouldBlock`, `timedOut` if not a byte was written; `corrupt`,
    ///   `vanished`.
    @discardableResult
    public mutating func write(
      _ bytes: UnsafeRawBufferPointer, until deadline: UInt64? = nil
    ) throws(PipeError) -> Int {
      if bytes.count > Int(producer.memory.capacity) { return try writePieces(bytes, until: deadline) }
      var count = try producer.offer(bytes, whole: true)
      if count < bytes.count { count = try waitAndWrite(bytes, inPieces: false, until: deadline) }
      if count > 0, producer.mustWake() { peer.wake() }
      return count
    }

    private mutating func writePieces(
      _ bytes: UnsafeRawBufferPointer, until deadline: UInt64?
    ) throws(PipeError) -> Int {
      var done = 0
      defer { wakeAfterPieces() }
      while done < bytes.count {
        let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
        if !peer.isLocal, deadline != 0 { producer.watch(Self.glance, for: rest.count) }
        var count = try producer.offerPiece(rest)
        if count == 0 {
          wakeAfterPieces()
          do throws(PipeError) { count = try waitAndWrite(rest, inPieces: true, until: deadline) } catch {
            guard error == .wouldBlock || error == .timedOut else { throw error }
            // However little there is room for.
            done += try producer.offer(rest)
            if done > 0 { return done }
            throw error
          }
        }
        done += count
        // As soon as there is something to read. One that goes to sleep just now is seen before this waits or returns.
        if producer.mustWake() { peer.wake() }
      }
      return done
    }

    private mutating func waitAndWrite(
      _ bytes: UnsafeRawBufferPointer, inPieces: Bool, until deadline: UInt64?
    ) throws(PipeError) -> Int {
      var written = 0
      try withUnsafeMutablePointer(to: &producer) { (producer) throws(PipeError) in
        try patience.wait(
          for: &peer, until: deadline,
          announce: { if $0 { producer.pointee.announceSleep() } else { producer.pointee.endSleep() } }
        ) { () throws(PipeError) in
          if inPieces {
            written = try producer.pointee.offerPiece(bytes)
          } else {
            written = try producer.pointee.offer(bytes, whole: true)
          }
          return written > 0
        }
      }
      return written
    }

    private mutating func wakeAfterPieces() {
      if producer.mustWakeAfterPieces() { peer.wake() }
    }

    /// Nothing more will come. The reader reads what is there, then finds the end.
    public mutating func close() {
      producer.close()
      if producer.mustWake() { peer.wake() }
    }
  }
#endif
