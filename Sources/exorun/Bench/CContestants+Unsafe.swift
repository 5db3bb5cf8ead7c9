import BenchFloor
import BenchKit
import BenchLinux
import Glibc

/// The bare mechanisms, in a virtual machine of their own.
@safe final class FloorContestant: Contestant {
  let name = ContestantName.floor
  // Valid from init to deinit; used by one thread at a time, since this class is not Sendable.
  private let floor: OpaquePointer

  init() throws(SampleError) {
    var handle: OpaquePointer?
    var reason: UnsafePointer<CChar>?
    let result = unsafe bench_floor_open(&handle, &reason)
    guard let handle = unsafe handle else {
      let what = unsafe reason.map { unsafe String(cString: $0) } ?? "cannot be opened"
      throw .unavailable("\(what): \(errorText(-result))")
    }
    unsafe floor = handle
  }
  deinit { unsafe bench_floor_close(floor) }

  func sample(row: BenchRow, iterations: UInt32) throws(SampleError) -> Double? {
    try figure(unsafe bench_floor_run(floor, row.work, iterations))
  }
  func describe(row: BenchRow) -> String? {
    let text = unsafe bench_floor_describe(row.work).map { unsafe String(cString: $0) }
    return row.crowd == nil ? text : text.map { "alone: \($0)" }
  }
}

/// Linux, doing the same work.
@safe final class LinuxContestant: Contestant {
  let name = ContestantName.linux
  private let linux: OpaquePointer

  init() throws(SampleError) {
    var handle: OpaquePointer?
    let result = unsafe bench_linux_open(&handle)
    guard let handle = unsafe handle else { throw .unavailable(errorText(-result)) }
    unsafe linux = handle
  }
  deinit { unsafe bench_linux_close(linux) }

  func sample(row: BenchRow, iterations: UInt32) throws(SampleError) -> Double? {
    let result = unsafe bench_linux_crowd(linux, Int32(row.crowd ?? 0))
    guard result == 0 else { throw .failed("\(row.crowd ?? 0) processes: \(errorText(-result))") }
    return try figure(unsafe bench_linux_run(linux, row.work, iterations))
  }
  func describe(row: BenchRow) -> String? {
    let text = unsafe bench_linux_describe(linux, row.work).map { unsafe String(cString: $0) }
    guard let crowd = row.crowd else { return text }
    return text.map { "beside \(crowd) processes that wait: \($0)" }
  }

  func series(row: BenchRow) -> Series? {
    var lines: Int32 = 0
    var points: Int32 = 0
    guard let values = unsafe bench_linux_series(linux, row.work, &lines, &points), lines > 1 else {
      return nil
    }
    // As many numbers as it says, which stay until the next run.
    let numbers = unsafe Array(UnsafeBufferPointer(start: values, count: Int(lines) * Int(points)))
    return StrideSeries.of("linux", numbers)
  }
}

/// A figure, or what the C side says instead: not a number for no such row, below zero for an error.
private func figure(_ value: Double) throws(SampleError) -> Double? {
  if value.isNaN { return nil }
  guard value < 0 else { return value }
  switch Int32(exactly: (-value).rounded()) ?? EIO {
  case ENODEV: throw .unavailable("needs a second processor")
  case EOPNOTSUPP: throw .unavailable("this kernel cannot")
  case ELIBACC: throw .unavailable("libpcap is not installed: sudo apt-get install -y libpcap0.8")
  case EBUSY: throw .unavailable("other programs changed what is measured")
  case ETIMEDOUT: throw .failed("no answer in time")
  case let error: throw .failed(errorText(error))
  }
}
