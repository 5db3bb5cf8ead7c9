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
    || [ENODEV, EOPNOTSUPP, ETIMEDOUT, EPROTO, EBUSY].contains { figure == -Double($0) }
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
      // Those that take a second are not taken twice.
      if !["matmul1024_double", "slice_error", "alive_memory", "parked_memory"].contains(id) {
        #expect(ran(bench_linux_run(linux, id, 50)), "\(id)")
      }
    }
    #expect(rows >= 40)
    #expect(bench_linux_run(linux, "no_such_row", 1).isNaN)
  }

  @Test func processesThatWaitComeAndGo() throws {
    var handle: OpaquePointer?
    #expect(bench_linux_open(&handle) == 0)
    let linux = try #require(handle)
    defer { bench_linux_close(linux) }
    func children() -> Int {
      let file = fopen("/proc/self/task/\(getpid())/children", "r")
      defer { if let file { fclose(file) } }
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      return file.map { bytes[..<fread(&bytes, 1, bytes.count, $0)].split(separator: 32).count } ?? 0
    }
    #expect(bench_linux_crowd(linux, 30) == 0)
    #expect(bench_linux_run(linux, "exocall", 10) > 0)
    #expect(bench_linux_crowd(linux, 7) == 0)
    #expect(bench_linux_crowd(linux, 0) == 0)
    // None of ours is left, whoever asks; those of other tests come and go.
    #expect(children() < 30)
  }

  @Test func theStrideRowKeepsItsSeries() throws {
    var handle: OpaquePointer?
    #expect(bench_linux_open(&handle) == 0)
    let linux = try #require(handle)
    defer { bench_linux_close(linux) }
    #expect(ran(bench_linux_run(linux, "stride_error", 1)))
    var (lines, points): (Int32, Int32) = (0, 0)
    let values = try #require(bench_linux_series(linux, "stride_error", &lines, &points))
    #expect(lines == 4 && points == 94)
    // Time and counts only grow.
    for point in 1..<Int(points) {
      for line in 0..<4 { #expect(values[point * 4 + line] >= values[point * 4 - 4 + line]) }
    }
    #expect(bench_linux_series(linux, "exocall", &lines, &points) == nil)
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
