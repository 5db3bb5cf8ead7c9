import BenchKit

/// The course of `stride_error`: what three parties had done at each turn.
enum StrideSeries {
  private static let tickets = [3, 2, 1]

  /// - Parameter numbers: for each point the microseconds so far and the three counts.
  static func of(_ contestant: String, _ numbers: [Double]) -> Series? {
    let width = tickets.count + 1
    guard numbers.count >= width else { return nil }
    let points = stride(from: 0, to: numbers.count - width + 1, by: width)
    // Both contestants count turns of the same loop.
    let lines = tickets.indices.map { party in
      Series.Line(
        name: "\(contestant), \(tickets[party]) of 6",
        points: [Series.Point(x: 0, y: 0)]
          + points.map { Series.Point(x: numbers[$0] / 1000, y: numbers[$0 + 1 + party] / 1e6) })
    }
    return Series(x: "milliseconds", y: "millions of turns counted", lines: lines)
  }
}
