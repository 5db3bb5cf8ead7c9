import Synchronization
import Testing

@testable import LibOSHost

/// Two threads, one at each end, that fall asleep whenever there is nothing to do: what must not happen is that a byte is lost,
/// torn or seen twice, or a wakeup lost between the last look and the sleep.
@Suite struct PipeConcurrencyTests {
  /// A place to sleep in until somebody rings.
  private final class Bed: Sendable {
    private let rung = Atomic(false)
    private let overslept = Atomic(0)
    func ring() { rung.store(true, ordering: .releasing) }
    func sleep() async {
      for _ in 0..<4_000_000 {
        if rung.exchange(false, ordering: .acquiring) { return }
        // Lets the other end have this thread: other tests may keep the rest of the pool.
        await Task.yield()
      }
      // Only a lost wakeup takes so long.
      overslept.add(1, ordering: .relaxed)
    }
    var lost: Int { overslept.load(ordering: .relaxed) }
  }

  @Test(arguments: [(64, 1), (64, 40), (256, 100), (4096, 3000)])
  func everyByteComesOnce(_ capacity: Int, _ largest: Int) async throws {
    let pipe = PipeFixture(capacity: capacity)
    let (readerBed, writerBed) = (Bed(), Bed())
    let total = capacity < 1000 ? 200_000 : 2_000_000
    async let sent = Task.detached { () throws -> Int in
      let writer = Writer(pipe)
      var (done, turn) = (0, 0)
      while done < total {
        turn += 1
        let size = min(1 + turn * 7919 % largest, total - done)
        let bytes = (0..<size).map { pattern(done + $0) }
        var from = 0
        while from < size {
          var count = try writer.offer(Array(bytes[from...]))
          if count == 0 {
            writer.announceSleep()
            count = try writer.offer(Array(bytes[from...]))
            if count == 0 { await writerBed.sleep() }
            writer.endSleep()
          }
          if count > 0, writer.mustWake() { readerBed.ring() }
          from += count
        }
        done += size
      }
      writer.close()
      if writer.mustWake() { readerBed.ring() }
      return done
    }.value
    async let got = Task.detached { () throws -> (Int, Int) in
      let reader = Reader(pipe)
      var (done, wrong, turn) = (0, 0, 0)
      while true {
        turn += 1
        let limit = 1 + turn * 104_729 % (largest + 3)
        var bytes = try reader.take(limit)
        if bytes == nil {
          reader.announceSleep()
          bytes = try reader.take(limit)
          if bytes == nil { await readerBed.sleep() }
          reader.endSleep()
        }
        guard let bytes else { continue }
        if bytes.isEmpty { return (done, wrong) }
        if reader.mustWake() { writerBed.ring() }
        for (index, byte) in bytes.enumerated() where byte != pattern(done + index) { wrong += 1 }
        done += bytes.count
      }
    }.value
    let (count, (read, wrong)) = try await (sent, got)
    #expect(count == total && read == total && wrong == 0)
    #expect(readerBed.lost == 0 && writerBed.lost == 0)
  }

  /// The same in pieces, where an end says that it has done something only before it sleeps.
  @Test(arguments: [64, 1024, 8192])
  func everyPieceComesOnce(_ capacity: Int) async throws {
    let pipe = PipeFixture(capacity: capacity)
    let (readerBed, writerBed) = (Bed(), Bed())
    let total = capacity < 1000 ? 200_000 : 4_000_000
    async let sent = Task.detached { () throws -> Int in
      let writer = Writer(pipe)
      var done = 0
      while done < total {
        let bytes = (0..<min(4 * capacity + 77, total - done)).map { pattern(done + $0) }
        var from = 0
        while from < bytes.count {
          let piece = Array(bytes[from..<min(bytes.count, from + capacity)])
          var count = try writer.offerPiece(piece)
          if count == 0 {
            if writer.mustWakeAfterPieces() { readerBed.ring() }
            writer.announceSleep()
            count = try writer.offerPiece(piece)
            if count == 0 { await writerBed.sleep() }
            writer.endSleep()
          }
          from += count
        }
        if writer.mustWakeAfterPieces() { readerBed.ring() }
        done += bytes.count
      }
      writer.close()
      if writer.mustWake() { readerBed.ring() }
      return done
    }.value
    async let got = Task.detached { () throws -> (Int, Int) in
      let reader = Reader(pipe)
      var (done, wrong) = (0, 0)
      while true {
        var bytes = try reader.takePieces(3 * capacity + 5)
        if bytes == nil {
          if reader.mustWakeAfterPieces() { writerBed.ring() }
          reader.announceSleep()
          bytes = try reader.takePieces(3 * capacity + 5)
          if bytes == nil { await readerBed.sleep() }
          reader.endSleep()
        }
        guard let bytes else { continue }
        if bytes.isEmpty { return (done, wrong) }
        for (index, byte) in bytes.enumerated() where byte != pattern(done + index) { wrong += 1 }
        done += bytes.count
      }
    }.value
    let (count, (read, wrong)) = try await (sent, got)
    #expect(count == total && read == total && wrong == 0)
    #expect(readerBed.lost == 0 && writerBed.lost == 0)
  }
}
