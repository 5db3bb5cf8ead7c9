import Testing

@testable import Exo

/// When the thread of a device looks again rather than sleep: times are the test's own.
@Suite struct DeviceWatchTests {
  private var watch = DeviceWatch()
  private var now: UInt64 = 1_000_000_000
  private let window = DeviceWatch.window

  /// A packet comes; returns whether it watches for the next, and for how long it does if none comes.
  private mutating func packet(mayWatch: Bool = true) -> UInt64? {
    watch.packetsCame(at: now, mayWatch: mayWatch)
    let began = now
    while watch.goesOn(at: now, mayWatch: mayWatch) { now += 1000 }
    return now == began ? nil : now - began
  }

  @Test mutating func itIsBounded() {
    let nothing = watch.goesOn(at: now, mayWatch: true)
    #expect(!nothing)
    let time = packet()
    #expect(time == window)
  }

  @Test mutating func whatComesInTimeKeepsIt() {
    for _ in 0..<10_000 {
      watch.packetsCame(at: now, mayWatch: true)
      now += window / 2
      let goesOn = watch.goesOn(at: now, mayWatch: true)
      #expect(goesOn)
    }
  }

  /// Packets that come too late for it are watched for less and less, down to one in some hundred; one that is in time ends that.
  @Test mutating func itGivesUpWhatIsForNothing() {
    var watched: [Int] = []
    for number in 0..<4000 {
      if packet() != nil { watched.append(number) }
      now += 20 * window
    }
    #expect(watched.prefix(5) == [0, 2, 5, 10, 19])
    #expect(watched.count < 24)
    while packet() == nil {}
    // It has just failed once more: as many pass as may.
    var passed = 0
    while true {
      watch.packetsCame(at: now, mayWatch: true)
      if watch.goesOn(at: now, mayWatch: true) { break }
      passed += 1
    }
    #expect(passed == DeviceWatch.passLimit)
    watch.packetsCame(at: now + window / 2, mayWatch: true)
    let again = watch.goesOn(at: now + window / 2, mayWatch: true)
    #expect(again)
  }

  @Test mutating func withoutAProcessorItSleeps() {
    for _ in 0..<100 {
      let time = packet(mayWatch: false)
      #expect(time == nil)
    }
    // Who needs the processor says nothing of packets.
    watch.packetsCame(at: now, mayWatch: true)
    let taken = watch.goesOn(at: now, mayWatch: false)
    #expect(!taken)
    let time = packet()
    #expect(time == window)
  }

  /// Nothing of it is left to a thread that was called.
  @Test func aParkerKnowsWhoSleeps() throws {
    let parker = Parker()
    #expect(!parker.isAsleep)
    let thread = try HostThread(name: "test") { parker.wait(parker.ticket) }
    while !parker.isAsleep {}
    parker.notify()
    #expect(!parker.isAsleep)
    thread.join()
    #expect(!parker.isAsleep)
  }
}
