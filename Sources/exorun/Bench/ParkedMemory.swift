import BenchKit
import BenchSupport
import Exo
import Glibc

/// What an environment that does nothing costs the host beyond the frames it was given: a thousand of them at once, each
/// waiting for input that does not come.
enum ParkedMemory {
  static let crowd = 1000

  /// Bytes for each.
  static func sample(_ image: GuestImage) throws(SampleError) -> Double {
    let parking = try Parking(image)
    defer { parking.machine.stop() }
    // The first has the machine measured and its own things made.
    try parking.park(1)
    let before = bench_memory_in_use()
    try parking.park(crowd)
    guard before >= 0 else { throw .unavailable("this kernel does not say what memory is used for") }
    let more = bench_memory_in_use() - before
    guard more > 0 else { throw .unavailable("other programs changed what is measured") }
    return more / Double(crowd)
  }
}
