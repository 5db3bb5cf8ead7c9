/// What is kept of a series of samples.
public struct Summary: Equatable, Sendable {
  public let minimum: Double
  public let median: Double
  /// The smallest sample that at least 95% of the samples do not exceed.
  public let percentile95: Double
  /// How many samples.
  public let count: Int
  /// The samples themselves, in the order they were taken; empty if they were not kept.
  public let samples: [Double]

  public init(
    minimum: Double, median: Double, percentile95: Double, count: Int, samples: [Double] = []
  ) {
    self.minimum = minimum
    self.median = median
    self.percentile95 = percentile95
    self.count = count
    self.samples = samples
  }

  /// Nil without samples.
  public init?(of samples: [Double]) {
    let sorted = samples.sorted()
    guard let first = sorted.first else { return nil }
    let middle = sorted.count / 2
    minimum = first
    median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    percentile95 = sorted[(sorted.count * 95 + 99) / 100 - 1]
    count = sorted.count
    self.samples = samples
  }

  /// How far the samples lie apart: from the minimum to the 95th percentile.
  public var spread: Double { percentile95 - minimum }
}
