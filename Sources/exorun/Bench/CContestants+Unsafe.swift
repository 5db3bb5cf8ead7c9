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
    if row.id.hasPrefix("demux_") || row.id == "filter_insert" {
      throw .unavailable("no virtual machine takes part, so there is no mechanism under it")
    }
    return try figure(unsafe bench_floor_run(floor, row.work, iterations))
  }
  func describe(row: BenchRow) -> String? {
    unsafe bench_floor_describe(row.work).map { unsafe String(cString: $0) }
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
    try figure(unsafe bench_linux_run(linux, row.work, iterations))
  }
  func describe(row: BenchRow) -> String? {
    unsafe bench_linux_describe(linux, row.work).map { unsafe String(cString: $0) }
  }
}

/// A figure, or what the C side says instead: not a number for no such row, below zero for an error.
private func figure(_ value: Double) throws(SampleError) -> Double? {
  if value.isNaN { return nil }
  guard value < 0 else { return value }
  switch Int32(-value) {
  case ENODEV: throw .unavailable("needs a second processor")
  case EOPNOTSUPP: throw .unavailable("this kernel cannot")
  case ELIBACC: throw .unavailable("libpcap is not installed: sudo apt-get install -y libpcap0.8")
  case ETIMEDOUT: throw .failed("no answer in time")
  case let error: throw .failed(errorText(error))
  }
}
