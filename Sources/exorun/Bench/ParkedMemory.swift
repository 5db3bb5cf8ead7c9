import BenchKit
import BenchSupport
import Exo
import Glibc

/// What environments that do nothing cost the host beyond the frames they were given: a thousand of them at once, each waiting
/// for input that does not come.
enum ParkedMemory {
  static let crowd = 1000
  private static let manyParked = 1000
  /// From here on nothing grows but what is kept for each that is parked: those with a vCPU are as many as there will be, and so
  /// are KVM's shadow tables, which it keeps as a cache of a size that goes with the machine's memory.
  static let alive = 500
  static let step = 50

  /// Bytes for each of a thousand: vCPUs and KVM's tables are shared out among all.
  static func ofAlive(_ image: GuestImage) throws(SampleError) -> Double {
    let parking = try start(image)
    defer { parking.machine.stop() }
    let before = try inUse()
    try parking.park(crowd)
    let more = try inUse() - before
    guard more > 0 else { throw .unavailable("other programs changed what is measured") }
    return more / Double(crowd)
  }

  /// Bytes for each more that is parked.
  static func ofParked(_ image: GuestImage) throws(SampleError) -> Double {
    let parking = try start(image)
    defer { parking.machine.stop() }
    try parking.park(alive)
    var (counts, sizes) = ([Double(parking.count)], [try inUse()])
    while parking.count < manyParked {
      try parking.park(step)
      counts.append(Double(parking.count))
      sizes.append(try inUse())
    }
    let slope = unsafe bench_slope(counts, sizes, Int32(counts.count))
    guard slope > 0 else { throw .unavailable("other programs changed what is measured") }
    return slope
  }

  /// With one environment, for which the machine is measured and its own things are made.
  private static func start(_ image: GuestImage) throws(SampleError) -> Parking {
    let parking = try Parking(image)
    try parking.park(1)
    return parking
  }

  private static func inUse() throws(SampleError) -> Double {
    let size = bench_memory_in_use(false)
    guard size >= 0 else { throw .unavailable("this kernel does not say what memory is used for") }
    return size
  }
}
