import BenchKit
import Testing

@Suite struct SummaryTests {
  @Test func noSamplesHaveNoSummary() {
    #expect(Summary(of: []) == nil)
  }

  @Test func oneSampleIsAllThree() throws {
    let summary = try #require(Summary(of: [7]))
    #expect(summary == Summary(minimum: 7, median: 7, percentile95: 7, count: 1, samples: [7]))
    #expect(summary.spread == 0)
  }

  @Test(
    arguments: [
      ([3, 1, 2], 2), ([4, 1, 3, 2], 2.5), ([1, 1, 1, 9], 1), ([5, 4, 3, 2, 1], 3),
    ] as [([Double], Double)])
  func medianOfOddAndEvenCounts(samples: [Double], median: Double) throws {
    #expect(try #require(Summary(of: samples)).median == median)
  }

  /// The nearest-rank definition, from 1 to 100 samples of 1, 2, 3, ...
  @Test func percentileIsNearestRank() throws {
    for count in 1...100 {
      let samples = (1...count).map(Double.init).shuffled()
      let summary = try #require(Summary(of: samples))
      let rank = samples.filter { $0 <= summary.percentile95 }.count
      #expect(rank * 100 >= count * 95)
      #expect((rank - 1) * 100 < count * 95)
    }
  }

  @Test func spreadIsFromMinimumToPercentile() throws {
    #expect(try #require(Summary(of: [10, 14, 12])).spread == 4)
  }
}
