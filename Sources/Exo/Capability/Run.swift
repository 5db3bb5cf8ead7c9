/// A non-empty run of numbered objects, `first ..< end`. Guests choose the numbers, so the only initialiser
/// refuses, instead of trapping, what is empty or passes the end of `Number`.
struct Run<Number: FixedWidthInteger & UnsignedInteger & Sendable>: Hashable, Sendable {
  let first: Number
  /// One past the last.
  let end: Number

  init?(first: Number, count: Number) {
    let (end, overflow) = first.addingReportingOverflow(count)
    guard count > 0, !overflow else { return nil }
    self.first = first
    self.end = end
  }

  var count: Number { end - first }
  func contains(_ number: Number) -> Bool { first <= number && number < end }
  func contains(_ other: Run) -> Bool { first <= other.first && other.end <= end }
  func overlaps(_ other: Run) -> Bool { first < other.end && other.first < end }
}

extension Run: CustomStringConvertible {
  var description: String { count == 1 ? "\(first)" : "\(first)..<\(end)" }
}
