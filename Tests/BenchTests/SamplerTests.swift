import BenchKit
import Testing

/// Time that passes only when something is measured.
private final class FakeTime {
  var now = 0.0
}

private final class Fake: Contestant {
  let name: ContestantName
  let time: FakeTime
  let cost: Double
  var calls: [UInt32] = []
  var failAfter: Int?
  var exists = true
  /// Seconds that reaching it takes.
  var distance = 0.0
  var log: (String) -> Void = { _ in }

  init(_ name: ContestantName, _ time: FakeTime, nanoseconds: Double) {
    self.name = name
    self.time = time
    cost = nanoseconds
  }
  func sample(row: BenchRow, iterations: UInt32) throws(SampleError) -> Double? {
    guard exists else { return nil }
    if let failAfter, calls.count >= failAfter { throw .failed("broken") }
    calls.append(iterations)
    log(name.rawValue)
    time.now += cost * Double(iterations) / 1e9 + distance
    return cost
  }
  func describe(row: BenchRow) -> String? { "by \(name.rawValue)" }
}

@Suite struct SamplerTests {
  private let time = FakeTime()
  private func sampler(repeats: Int = 6) -> Sampler {
    var sampler = Sampler { [time] in time.now }
    sampler.repeats = repeats
    sampler.sampleTime = 0.01
    sampler.rowTime = 100
    return sampler
  }

  @Test func contestantsTakeTurns() throws {
    let fakes = [Fake(.exo, time, nanoseconds: 1e7), Fake(.linux, time, nanoseconds: 1e7)]
    var order: [String] = []
    for fake in fakes { fake.log = { order.append($0) } }
    _ = sampler(repeats: 4).measure(try row("exocall"), fakes)
    // One calibrating try each, then turns.
    #expect(order == ["exo", "linux"] + (0..<4).flatMap { _ in ["exo", "linux"] })
  }

  @Test func samplesLastAsLongAsTheyShould() throws {
    let fake = Fake(.exo, time, nanoseconds: 100)
    let result = sampler().measure(try row("exocall"), [fake])
    let iterations = try #require(fake.calls.last)
    #expect((50_000...200_000).contains(iterations))
    #expect(result.exo == Summary(of: Array(repeating: 100, count: 6)))
  }

  /// Asking a guest takes longer than many of its operations: those are what a sample is made of.
  @Test func whatItTakesToAskIsNoSample() throws {
    let fake = Fake(.exo, time, nanoseconds: 100)
    fake.distance = 0.006
    _ = sampler().measure(try row("exocall"), [fake])
    #expect((50_000...200_000).contains(try #require(fake.calls.last)))
    // But where it is nearly all there is, more operations would not end.
    fake.distance = 1
    fake.calls = []
    _ = sampler().measure(try row("exocall"), [fake])
    #expect(fake.calls.allSatisfy { $0 <= 100 })
  }

  @Test func aSlowOperationIsTakenOnceASample() throws {
    let fake = Fake(.exo, time, nanoseconds: 3e8)
    _ = sampler().measure(try row("exocall"), [fake])
    #expect(fake.calls.allSatisfy { $0 == 1 })
  }

  @Test func aLongRowHasFewerSamplesButThree() throws {
    var sampler = sampler(repeats: 50)
    sampler.rowTime = 0.45
    #expect(sampler.measure(try row("exocall"), [Fake(.exo, time, nanoseconds: 1e9)]).exo?.count == 3)
    #expect(sampler.measure(try row("exocall"), [Fake(.exo, time, nanoseconds: 1e8)]).exo?.count == 5)
  }

  /// What takes most of a row's time is not taken once more for nothing.
  @Test func aTryAsLongAsTheRowIsASample() throws {
    var sampler = sampler(repeats: 3)
    sampler.rowTime = 4
    let slow = Fake(.exo, time, nanoseconds: 1.5e9)
    #expect(sampler.measure(try row("exocall"), [slow]).exo?.count == 3)
    #expect(slow.calls == [1, 1, 1])
    sampler.leastSamples = 1
    slow.calls = []
    sampler.rowTime = 0.1
    #expect(sampler.measure(try row("exocall"), [slow]).exo?.count == 1)
    #expect(slow.calls == [1])
  }

  @Test func theNoteSaysHowAndWhyNot() throws {
    let absent = Fake(.exo, time, nanoseconds: 1)
    absent.exists = false
    let result = sampler().measure(
      try row("exocall"), [absent, Fake(.linux, time, nanoseconds: 5e6)],
      missing: [.floor: "no machine"])
    #expect(result.exo == nil && result.floor == nil && result.linux != nil)
    #expect(
      result.note
        == "caller on the first processor, server polling on the second; exo: does not exist yet; linux: by linux; floor: no machine"
    )
  }

  @Test func aFailureInTheMiddleLeavesNoFigure() throws {
    let broken = Fake(.exo, time, nanoseconds: 1e7)
    broken.failAfter = 3
    let result = sampler().measure(try row("clock"), [broken, Fake(.linux, time, nanoseconds: 1e7)])
    #expect(result.exo == nil)
    #expect(result.linux?.count == 6)
    #expect(result.note == "exo: failed: broken; linux: by linux")
  }
}
