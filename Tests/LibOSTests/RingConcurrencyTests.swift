import ExoABI
import Glibc
import Synchronization
import Testing

@testable import LibOSHost

/// A server on a thread of its own that falls asleep as soon as it has nothing to do: what must not happen is a
/// wakeup lost between its last look and the sleep.
final class ThreadedServer: RingDoorbell, @unchecked Sendable {
  let server = RingServer()
  let stop = Atomic(false)
  let awake = Atomic(true)
  let posted = Atomic<UInt32>(0)
  let late = Atomic(0)

  func run() {
    while !stop.load(ordering: .acquiring) {
      // Once a wakeup was lost the test has failed: get it over with.
      if step() || late.load(ordering: .relaxed) > 0 { continue }
      server.service = EXO_SERVICE_ASLEEP
      atomicMemoryFence(ordering: .sequentiallyConsistent)
      if !step() {
        let start = ticks
        while !awake.exchange(false, ordering: .acquiring), !stop.load(ordering: .acquiring) {
          sched_yield()
          // Ten seconds without a ring: only a lost wakeup takes so long.
          if ticks - start > 10_000_000_000 {
            late.add(1, ordering: .relaxed)
            break
          }
        }
      }
      server.service = EXO_SERVICE_POLLED
    }
  }

  private func step() -> Bool {
    guard server.readOne() else { return false }
    server.postOne(0)
    posted.store(server.posted, ordering: .releasing)
    return true
  }

  func wake() { awake.store(true, ordering: .releasing) }
  func serve() {}
  func wait(for completion: UInt32) {
    while Int32(bitPattern: posted.load(ordering: .acquiring) &- completion) < 0 { sched_yield() }
  }
  func pause() {}
  var ticks: UInt64 { nanoseconds() }

  private func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

@Suite struct RingConcurrencyTests {
  @Test func noWakeupIsLost() {
    let bell = ThreadedServer()
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<ThreadedServer>.fromOpaque(argument!).takeUnretainedValue().run()
        return nil
      }, Unmanaged.passUnretained(bell).toOpaque())
    defer {
      bell.stop.store(true, ordering: .releasing)
      pthread_join(thread, nil)
      #expect(bell.late.load(ordering: .relaxed) == 0)
      #expect(bell.server.complaints == [])
    }
    let answers = UnsafeMutableRawPointer.allocate(
      byteCount: RingClient<ThreadedServer>.answersSize, alignment: 64)
    defer { answers.deallocate() }
    var client = RingClient(bell: bell)
    client.attach(
      submissions: bell.server.submissions, completions: bell.server.completions, status: bell.server.status,
      answers: answers, patience: 5000)
    for number: UInt32 in 0..<3000 {
      let request = RingRequest(number, UInt64(number))
      if !request.fits(client.call(request)) { Issue.record("call \(number) has another's answer") }
      if number % 60 == 0 {
        let tickets = (0..<number % 50).map { client.submit(RingRequest($0))! }
        client.notify()
        for (index, ticket) in tickets.enumerated() {
          if !RingRequest(UInt32(index)).fits(client.wait(ticket)) { Issue.record("batch answer \(index)") }
        }
      }
    }
  }
}
