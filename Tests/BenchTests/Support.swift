import BenchKit
import Testing

func summary(_ median: Double, spread: Double = 0, count: Int = 20) -> Summary {
  Summary(minimum: median - spread / 2, median: median, percentile95: median + spread / 2, count: count)
}

func row(_ id: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> BenchRow {
  try #require(BenchRow.named(id), sourceLocation: sourceLocation)
}
