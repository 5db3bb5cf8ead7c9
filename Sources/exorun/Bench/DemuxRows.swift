import BenchKit
import BenchSupport
import Exo

/// Rows about packets: which of many filters one belongs to, by the merged and compiled structure, and one filter more.
///
/// Filter i is `ip and dst host 10.0.0.1 and tcp dst port 1024+i`. Packets are for the filters at random, by the same
/// generator as Linux's (Benchmarks/Linux/filters.c).
final class DemuxRows {
  private struct Set: ~Copyable {
    var classifier = PacketClassifier()
    var packets = Batches { _ in Held(batch: PacketBatch()) }
  }
  private typealias Batches = InlineArray<4, Held>
  /// Lent, and not counted as held, atomically, each time: whoever receives packets has one batch for good.
  private struct Held: ~Copyable {
    var batch: PacketBatch
  }
  /// Bytes of a packet.
  private static let length = 60
  /// How many packets: in all, few enough for the nearest cache, where whoever receives them has just put them; and in a batch, as
  /// many as are read from a device at a time.
  private static let packets = 256, batch = 64
  private var count = 0
  private var set = Set()

  /// Nil: no row of these.
  func sample(_ row: BenchRow, _ iterations: UInt32) throws(SampleError) -> Double? {
    switch row.work {
    case "demux_1": try demux(1, iterations)
    case "demux_10", "pathfinder_10": try demux(10, iterations)
    case "demux_100": try demux(100, iterations)
    case "demux_1000": try demux(1000, iterations)
    case "demux_10000", "pathfinder_10000": try demux(10_000, iterations)
    case "filter_insert": try insert(into: 10_000, iterations)
    case "filter_insert_longest": try longestInsertion(of: 16_384)
    default: nil
    }
  }

  private static func filter(port: UInt16, host: UInt32 = 0x0a00_0001) throws(SampleError) -> Filter {
    do throws(FilterError) {
      return try Filter.ethernet.ipv4.to(IPv4Address(bits: host)).tcp(destinationPort: port)
    } catch { throw .failed("\(error)") }
  }

  /// Makes the filters and packets, if they are not those of the last call, and sees that each packet comes to its own.
  private func prepare(_ filters: Int) throws(SampleError) {
    guard filters != count else { return }
    count = 0
    set = Set()
    guard set.classifier.isCompiled else { throw .unavailable("this host lets no memory become executable") }
    var ids: [FilterID] = []
    for index in 0..<filters { ids.append(try add(try Self.filter(port: UInt16(1024 + index)))) }
    var random: UInt32 = 1
    for number in 0..<Self.packets {
      random = random &* 1_664_525 &+ 1_013_904_223
      let index = Int(random >> 8) % filters
      var packet = [UInt8](repeating: 0, count: Self.length)
      (packet[12], packet[14], packet[23]) = (8, 0x45, 6)
      (packet[30], packet[33]) = (10, 1)
      (packet[36], packet[37]) = (UInt8((1024 + index) >> 8), UInt8((1024 + index) & 0xff))
      guard set.classifier.classify(packet.span) == ids[index] else { throw .failed("a packet went astray") }
      set.packets[number / Self.batch].batch.append(packet[...])
    }
    count = filters
  }
  private func add(_ filter: Filter) throws(SampleError) -> FilterID {
    do throws(FilterError) { return try set.classifier.insert(filter) } catch { throw .failed("\(error)") }
  }

  private func demux(_ filters: Int, _ iterations: UInt32) throws(SampleError) -> Double {
    try prepare(filters)
    let (matched, ticks) = Self.classify(set.packets, with: set.classifier, iterations)
    guard matched == iterations else { throw .failed("a packet went astray") }
    return bench_nanoseconds(Double(ticks)) / Double(iterations)
  }

  /// A batch at a time, as packets come from a device.
  private static func classify(
    _ packets: borrowing Batches, with classifier: borrowing PacketClassifier, _ iterations: UInt32
  ) -> (matched: UInt32, ticks: UInt64) {
    var matched: UInt32 = 0
    var matches = FilterMatches()
    let begin = bench_ticks()
    var done: UInt32 = 0
    // The last batch may be more than was asked for.
    while done < iterations {
      let found = classifier.classify(packets[Int(done) / Self.batch % packets.count].batch, into: &matches)
      matched += min(UInt32(found), iterations - done)
      done += min(UInt32(Self.batch), iterations - done)
    }
    return (matched, bench_ticks() &- begin)
  }

  /// Filters of another host, a thousand at a time, so that there are never many more than at first.
  private func insert(into filters: Int, _ iterations: UInt32) throws(SampleError) -> Double {
    try prepare(filters)
    var ticks: UInt64 = 0
    for first in stride(from: UInt32(0), to: iterations, by: 1000) {
      var more: [Filter] = []
      for index in first..<min(first + 1000, iterations) {
        more.append(try Self.filter(port: UInt16(12_000 + index % 50_000)))
      }
      var ids: [FilterID] = []
      let begin = bench_ticks()
      for filter in more { ids.append(try add(filter)) }
      ticks += bench_ticks() &- begin
      for id in ids { set.classifier.remove(id) }
    }
    return bench_nanoseconds(Double(ticks)) / Double(iterations)
  }

  /// What grows with the filters must not do so all at once, for packets wait. Filters are filled in several times, and the least that
  /// each insertion took counts: what is left is its own. Nanoseconds.
  private func longestInsertion(of filters: Int) throws(SampleError) -> Double {
    var more: [Filter] = []
    for index in 0..<filters {
      // A port of one host, or a host by itself: a look-up's value, or one with code of its own.
      let host = index % 2 == 0 ? 0x0a00_0001 : 0x0a01_0000 + UInt32(index)
      more.append(try Self.filter(port: UInt16(1024 + index), host: host))
    }
    var least = [UInt64](repeating: .max, count: filters)
    for _ in 0..<5 {
      var classifier = PacketClassifier()
      for (index, filter) in more.enumerated() {
        let begin = bench_ticks()
        do throws(FilterError) { _ = try classifier.insert(filter) } catch { throw .failed("\(error)") }
        least[index] = min(least[index], bench_ticks() &- begin)
      }
      guard classifier.isCompiled else { throw .unavailable("this host lets no memory become executable") }
    }
    return bench_nanoseconds(Double(least.max() ?? 0))
  }
}
