import Glibc
import Synchronization
import Testing

@testable import Exo

/// What a trace keeps, loses and says.
@Suite struct TraceTests {
  private func words(_ number: UInt64) -> TraceWords {
    TraceWords(
      time: number, duration: number &* 3, subject: number &* 5, first: number &* 7, second: number &* 11)
  }

  @Test func aLaneGivesBackWhatWasWrittenInOrder() {
    let lane = TraceLane()
    lane.write(words(1))
    #expect(lane.newest == 0, "kept although nobody prepared it")
    lane.prepare()
    for number in 1...100 { lane.write(words(UInt64(number))) }
    var (cursor, lost) = (UInt64(0), UInt64(0))
    for number in 1...100 { #expect(lane.read(after: &cursor, lost: &lost) == words(UInt64(number))) }
    #expect(lane.read(after: &cursor, lost: &lost) == nil)
    #expect(lost == 0)
  }

  @Test func theOldestAreLostAndCounted() {
    let lane = TraceLane()
    lane.prepare()
    let count = TraceLane.capacity + 1000
    for number in 1...count { lane.write(words(number)) }
    var (cursor, lost) = (UInt64(0), UInt64(0))
    #expect(lane.read(after: &cursor, lost: &lost) == words(1001))
    #expect(lost == 1000)
  }

  /// A writer that never waits, readers that look as it overwrites: whatever is read is whole.
  @Test func recordsAreWholeUnderAWriterThatLapsItsReaders() throws {
    let lane = TraceLane()
    lane.prepare()
    let isDone = Atomic<Bool>(false)
    let writer = try HostThread(name: "writer") { [words] in
      for number in 1...UInt64(2_000_000) { lane.write(words(number)) }
      isDone.store(true, ordering: .releasing)
    }
    var (cursor, lost, whole) = (UInt64(0), UInt64(0), UInt64(0))
    while true {
      let wasDone = isDone.load(ordering: .acquiring)
      // Where records are overwritten: at the far end of the ring.
      if lane.newest > TraceLane.capacity { cursor = max(cursor, lane.newest - TraceLane.capacity) }
      for _ in 0..<64 {
        guard let found = lane.read(after: &cursor, lost: &lost) else { continue }
        // Not only whole, but the one that was asked for.
        guard found == words(cursor) else {
          Issue.record("torn: \(found)")
          return
        }
        whole += 1
      }
      if wasDone { break }
    }
    writer.join()
    #expect(whole > 0)
  }

  @Test(arguments: [
    TraceEvent.created(by: nil), .created(by: EnvironmentID(7)), .started, .ended(.killed, status: 137),
    .ended(.hostFailure, status: 0), .sliceBegan(length: .max), .sliceEnded(.over, excess: 12),
    .sliceEnded(.sleeps, excess: 0), .guest(.wait), .exocall(3, result: nil),
    .exocall(0xff_ffff, result: -38),
    .exocall(9, result: .min), .posted(kind: 4, data: .max, value: .max),
    .fault(ExceptionVector(14), address: .max), .gateMade(0xff_ffff),
    .connected(to: EnvironmentID(.max), gate: .max, number: 62), .disconnected(number: 0),
    .called(EnvironmentID(.max)), .answered(by: EnvironmentID(1)), .callEnded(.stopped),
    .askedBack(kind: 1, owed: .max, by: nil), .askedBack(kind: 9, owed: 0, by: EnvironmentID(.max)),
    .aborted(kind: 4, owed: .max), .repossessed(kind: 1, first: .max, count: .max),
    .gaveBack(kind: 6, given: .max, taken: .max),
  ])
  func anEventIsTheSameAfterItsStayInALane(event: TraceEvent) {
    let words = TraceWords(event, of: EnvironmentID(.max), at: 5, duration: 6)
    let record = TraceRecord(words, lane: 2)
    #expect(
      record
        == TraceRecord(time: 5, duration: 6, lane: 2, environment: EnvironmentID(.max), event: event))
  }

  @Test func wordsThatAreNoRecordAreNone() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<10_000 {
      let words = TraceWords(
        time: generator.next(), duration: generator.next(), subject: generator.next(),
        first: generator.next(),
        second: generator.next())
      // Whatever it is: it must not trap, and what is made of it must be what was there.
      if let record = TraceRecord(words, lane: 0) {
        #expect(record.environment.number == UInt32(truncatingIfNeeded: words.subject))
      }
    }
  }

  @Test func nothingIsWantedUntilSomebodyAsksAndAfterTheyHaveGone() {
    let trace = Trace(processors: 1)
    #expect(TraceEvent.Category.allCases.allSatisfy { !trace.wants($0) })
    var slices: TraceReader? = TraceReader(trace, [.slice])
    var faults: TraceReader? = TraceReader(trace, [.fault, .slice])
    #expect(trace.wants(.slice) && trace.wants(.fault) && !trace.wants(.exocall))
    trace.record(.sliceBegan(length: 1), of: EnvironmentID(1))
    trace.record(.fault(ExceptionVector(6), address: 0), of: EnvironmentID(1))
    #expect(slices?.read().map(\.event) == [.sliceBegan(length: 1)])
    #expect(faults?.read().count == 2)
    faults = nil
    #expect(trace.wants(.slice) && !trace.wants(.fault))
    slices = nil
    #expect(!trace.wants(.slice))
  }

  @Test func recordsAreFromTheLaneOfTheirThread() throws {
    let trace = Trace(processors: 2)
    let reader = TraceReader(trace, [.environment])
    trace.record(.started, of: EnvironmentID(1))
    let thread = try HostThread(name: "processor 1") {
      Trace.enterLane(Trace.lane(ofProcessor: 1))
      trace.record(.started, of: EnvironmentID(2))
    }
    thread.join()
    #expect(reader.read().map { [$0.lane, Int($0.environment.number)] } == [[0, 1], [3, 2]])
  }
}

/// What the kernel records of taking things back.
@Suite struct RevocationTraceTests {
  @Test func aRequestItsAbortAndItsAnswerAreRecorded() throws {
    let bench = try KernelBench()
    let id = try bench.domain()
    let unused = try #require(bench.kernel.capabilities.quotas.account(of: id)).available(.frames)
    #expect(try bench.kernel.ask(id, for: .frames, 1, by: 5, asker: .host { _, _ in }) == 1)
    let reader = TraceReader(bench.kernel.trace, [.revocation])
    let asker = EnvironmentID(77)
    let wanted = unused - 1 + 2
    #expect(
      try bench.kernel.ask(id, for: .frames, wanted, by: 5, asker: .environment(asker, tag: 1)) == nil)
    bench.kernel.repossess(id, at: 4)
    #expect(reader.read().map(\.event) == [.askedBack(kind: 1, owed: 2, by: asker)], "before the deadline")
    bench.kernel.repossess(id, at: 5)
    let events = reader.read()
    #expect(events.allSatisfy { $0.environment == id })
    #expect(events.first?.event == .aborted(kind: 1, owed: 2))
    let (_, given, taken) = try #require(bench.kernel.answers.last)
    #expect(events.last?.event == .gaveBack(kind: 1, given: given, taken: taken))
    let runs = events.compactMap { record -> UInt32? in
      if case .repossessed(kind: 1, first: _, let count) = record.event { count } else { nil }
    }
    #expect(runs.count == events.count - 2 && runs.reduce(0, +) >= 2)
    // What was not used is taken on the spot, and answered.
    #expect(try bench.kernel.ask(id, for: .frames, 1, by: 9, asker: .host { _, _ in }) == 1)
    #expect(
      reader.read().map(\.event) == [
        .askedBack(kind: 1, owed: 0, by: nil), .gaveBack(kind: 1, given: 1, taken: 0),
      ])
  }
}
