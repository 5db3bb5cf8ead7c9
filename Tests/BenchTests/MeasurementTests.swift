import BenchFloor
import BenchKit
import BenchLinux
import BenchSupport
import Glibc
import TestSupport
import Testing

private let floorRows = BenchRow.all.map(\.id).filter { bench_floor_describe($0) != nil }

/// Whether a row ran, or cannot for lack of a processor or a kernel option. Nothing is asserted of its time: rows that
/// keep two processors busy give up at their deadline where other tests run beside them.
private func ran(_ figure: Double) -> Bool {
  figure > 0
    || [ENODEV, EOPNOTSUPP, ETIMEDOUT, EPROTO].contains { figure == -Double($0) }
}

@Suite(.serialized) struct MeasurementTests {
  @Test(.requires(.kvm))
  func everyFloorRowRuns() throws {
    var handle: OpaquePointer?
    var reason: UnsafePointer<CChar>?
    #expect(bench_floor_open(&handle, &reason) == 0)
    let floor = try #require(handle)
    defer { bench_floor_close(floor) }
    #expect(floorRows.count >= 24)
    for id in floorRows {
      // Twice, the second time with more: what a row leaves behind must not matter to the next.
      for iterations: UInt32 in [1, 130] { #expect(ran(bench_floor_run(floor, id, iterations)), "\(id)") }
    }
    #expect(bench_floor_run(floor, "no_such_row", 1).isNaN)
    #expect(bench_floor_run(floor, "clock", 0) == -Double(EINVAL))
  }

  @Test func everyLinuxRowRuns() throws {
    var handle: OpaquePointer?
    #expect(bench_linux_open(&handle) == 0)
    let linux = try #require(handle)
    defer { bench_linux_close(linux) }
    var rows = 0
    for id in BenchRow.all.map(\.id) where bench_linux_describe(linux, id) != nil {
      rows += 1
      #expect(ran(bench_linux_run(linux, id, 1)), "\(id)")
      if id != "matmul1024_double" { #expect(ran(bench_linux_run(linux, id, 50)), "\(id)") }
    }
    #expect(rows >= 40)
    #expect(bench_linux_run(linux, "no_such_row", 1).isNaN)
  }

  /// A row must leave the process as it found it.
  @Test func linuxRowsPutHandlersAndPlacementBack() throws {
    var handle: OpaquePointer?
    #expect(bench_linux_open(&handle) == 0)
    let linux = try #require(handle)
    defer { bench_linux_close(linux) }
    let signals = [SIGFPE, SIGTRAP, SIGSEGV, SIGILL, SIGBUS]
    func handlers() -> [UInt] {
      signals.map { signal in
        var action = sigaction()
        sigaction(signal, nil, &action)
        return unsafeBitCast(action.__sigaction_handler, to: UInt.self)
      }
    }
    // Pinning remembers the set of processors that was.
    func processors() -> UInt {
      var place = bench_place()
      bench_pin(0, &place)
      bench_unpin(&place)
      return UInt(place.saved.__bits.0)
    }
    // Another test may have left a handler: begin with one that no row installs.
    var saved = signals.map { _ in sigaction() }
    var ignore = sigaction()
    ignore.__sigaction_handler.sa_handler = SIG_IGN
    for (index, signal) in signals.enumerated() { sigaction(signal, &ignore, &saved[index]) }
    defer { for (index, signal) in signals.enumerated() { sigaction(signal, &saved[index], nil) } }
    let before = (handlers(), processors())
    for id in BenchRow.all.map(\.id) where id.hasPrefix("exception") || id.hasPrefix("appel") {
      _ = bench_linux_run(linux, id, 3)
    }
    #expect(handlers() == before.0)
    #expect(processors() == before.1)
  }
}
