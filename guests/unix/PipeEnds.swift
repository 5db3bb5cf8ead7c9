import ExosIPC
import GuestRuntime
import LibOS

/// How pipes end: closed, by a death, by a lie, or because their memory goes.
enum PipeEnds {
  /// The end of the stream for the reader, an error for the writer.
  static func ends() throws(ExocallError) {
    var company = try Company.make(
      apart: true,
      { _ in
        guard let connection = try? Company.accept() else { return 1 }
        var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
        guard (try? reader.readAll(into: bytes)) == 10, (try? reader.read(into: bytes)) == 0 else { return 2 }
        var back = PipeReader(.on(connection, fromCaller: false), from: PipePeer(connection))
        back.close()
        Company[Company.Word.free] = 1
        while connection.peer != .closed { pause(1_000_000) }
        return 0
      },
      { _ in
        guard let connection = try? Company.connect() else { return 1 }
        var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 10, alignment: 16)
        guard (try? writer.write(UnsafeRawBufferPointer(bytes))) == 10 else { return 2 }
        writer.close()
        var back = PipeWriter(.on(connection, fromCaller: false), to: PipePeer(connection))
        while Company[Company.Word.free] != 1 { pause(1_000_000) }
        guard failure({ () throws(PipeError) in try back.write(UnsafeRawBufferPointer(bytes)) }) == .closed
        else {
          return 3
        }
        return 0
      })
    try company.start()
    Promises.check(try company.first.watch.wait(), "a writer that closes is the end of the stream")
    Promises.check(try company.second.watch.wait(), "a reader that closes is an error to the writer")
    company.finish()
  }

  /// An environment that ends without closing is an error at the other end, asleep or not.
  static func deaths() throws(ExocallError) {
    for apart in [true, false] {
      var company = try Company.make(
        apart: apart,
        { _ in
          guard let connection = try? Company.accept() else { return 1 }
          var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
          let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
          guard (try? reader.readAll(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<3]))) == 3 else {
            return 2
          }
          Company[Company.Word.free] = 1
          return failure({ () throws(PipeError) in _ = try reader.read(into: bytes) }) == .peerEnded ? 0 : 3
        },
        { _ in
          guard let connection = try? Company.connect() else { return 1 }
          var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
          let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 3, alignment: 16)
          _ = try? writer.write(UnsafeRawBufferPointer(bytes))
          while true { Wakeup.sleep() }
        })
      try company.start()
      while Company[Company.Word.free] != 1 { pause(1_000_000) }
      pause(10_000_000)
      try company.second.environment.end(status: 9)
      Promises.check(
        try company.first.watch.wait(), "a reader that waits for one that is killed gets an error")
      company.finish()
    }
    for argument in 0..<2 as Range<UInt64> {
      var company = try Company.make(
        apart: true, argument: argument,
        { _ in
          guard (try? Company.accept()) != nil else { return 1 }
          while true { Wakeup.sleep() }
        },
        { isLong in
          guard let connection = try? Company.connect() else { return 1 }
          var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
          let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024, alignment: 16)
          guard (try? writer.write(UnsafeRawBufferPointer(bytes))) == 1024 else { return 2 }
          Company[Company.Word.free] = 1
          // What fits the pipe, and what goes through it in pieces.
          let more = UnsafeMutableRawBufferPointer.allocate(
            byteCount: isLong == 0 ? 1024 : 5000, alignment: 16)
          let error = failure { () throws(PipeError) in try writer.write(UnsafeRawBufferPointer(more)) }
          return error == .peerEnded ? 0 : 3
        })
      try company.start()
      while Company[Company.Word.free] != 1 { pause(1_000_000) }
      pause(10_000_000)
      try company.first.environment.end(status: 9)
      Promises.check(try company.second.watch.wait(), "so does a writer that waits for room")
      company.finish()
    }
  }

  /// The other end scribbles over everything the two share, while it is used.
  static func liars() throws(ExocallError) {
    for argument in 0..<8 as Range<UInt64> {
      var company = try Company.make(
        apart: true, argument: argument,
        { argument in
          guard let connection = try? Company.accept() else { return 1 }
          let isLong = argument & 4 != 0
          let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: isLong ? 5000 : 128, alignment: 16)
          let deadline = Clock.now + 2_000_000_000
          Company[Company.Word.free] = 1
          var error: PipeError?
          if argument & 1 == 0 {
            var reader = PipeReader(.on(connection, fromCaller: true), from: PipePeer(connection))
            while error == nil {
              error = failure { () throws(PipeError) in
                let count =
                  try isLong
                  ? reader.readAll(into: bytes, until: deadline) : reader.read(into: bytes, until: deadline)
                guard count > 0 else { throw .closed }
              }
            }
          } else {
            var writer = PipeWriter(.on(connection, fromCaller: false), to: PipePeer(connection))
            while error == nil {
              error = failure { () throws(PipeError) in
                guard try writer.write(UnsafeRawBufferPointer(bytes), until: deadline) > 0 else {
                  throw .closed
                }
              }
            }
          }
          Company[Company.Word.free] = 2
          // Whatever it says: not a hang, not a fault.
          return error == nil ? 2 : 0
        },
        { argument in
          guard let connection = try? Company.connect() else { return 1 }
          let page = UInt64(UInt(bitPattern: connection.page))
          while Company[Company.Word.free] == 0 { exo_pause() }
          var random: UInt64 = 88_172_645_463_325_252 &+ argument
          while Company[Company.Word.free] != 2 {
            random ^= random << 13
            random ^= random >> 7
            random ^= random << 17
            // The magic word too, for the half of them.
            let at = argument & 2 == 0 ? random % 128 : random % 56
            exo_store64(page + at * 8, random & 1 == 0 ? random >> 32 : random % 3000)
          }
          return 0
        })
      try company.start()
      Promises.check(try company.first.watch.wait(), "a peer that writes over the pipe's words is an error")
      company.finish()
    }
  }

  /// Frames of the other's that go while they are read.
  static func vanishing() throws(ExocallError) {
    var company = try Company.make(
      apart: true,
      { _ in
        do throws(ExocallError) {
          while Company[Company.Word.free] == 0 { pause(1_000_000) }
          let window = try SharedWindow.map(
            Capability(handle: Company[Company.Word.free]), pages: 2, [.read, .write])
          var reader = PipeReader(
            PipeFrames.memory(at: window.address, capacity: 4096),
            from: try Company.peer(Company.Word.secondOfFirst))
          let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
          guard (try? reader.read(into: bytes)) == 5 else { return 2 }
          Company[Company.Word.free + 1] = 1
          let error = failure { () throws(PipeError) in _ = try reader.read(into: bytes) }
          guard error == .vanished || error == .peerEnded else { return 3 }
          pause(5_000_000)
          // Touched again, by this environment and nobody else.
          exo_store64(window.address + 4096, 7)
          return window.hasVanished && exo_load64(window.address + 4096) == 7 ? 0 : 4
        } catch { return 1 }
      },
      { _ in
        do throws(ExocallError) {
          let frames = try Exocall.frameAllocate(count: 2)
          guard frames.count == 2 else { return 3 }
          try frames.owner.map(at: Company.pipe, pages: 2, [.read, .write])
          let memory = PipeFrames.memory(at: Company.pipe, capacity: 4096)
          memory.prepare()
          let first = Environment(
            capability: Capability(handle: Company[Company.Word.firstOfSecond]), number: 0)
          Company[Company.Word.free] =
            try frames.owner.grant(to: first, CapabilityRights([.read, .write])).handle
          var writer = PipeWriter(memory, to: try Company.peer(Company.Word.firstOfSecond))
          let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 5, alignment: 16)
          guard (try? writer.write(UnsafeRawBufferPointer(bytes))) == 5 else { return 2 }
          while Company[Company.Word.free + 1] == 0 { pause(1_000_000) }
          pause(10_000_000)
          try Exocall.unmap(Company.pipe, pages: 2)
          try frames.owner.drop()
          return 0
        } catch { return 1 }
      })
    try company.start()
    Promises.check(try company.second.watch.wait(), "a writer takes the pipe's memory away")
    Promises.check(try company.first.watch.wait(), "and its reader gets an error, not a fault")
    company.finish()
  }
}
