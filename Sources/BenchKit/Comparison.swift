/// A figure that differs between two runs by more than both runs' own spread.
public struct Movement: Equatable, Sendable {
  public let row: BenchRow
  public let contestant: ContestantName
  public let before: Double
  public let after: Double
  /// Ours, worse, and by more than the tolerance.
  public let isRegression: Bool

  public init(row: BenchRow, contestant: ContestantName, before: Double, after: Double, isRegression: Bool) {
    self.row = row
    self.contestant = contestant
    self.before = before
    self.after = after
    self.isRegression = isRegression
  }

  /// The change relative to what was, 0.1 for a tenth more.
  public var change: Double { (after - before) / before }
}

extension BenchReport {
  /// What moved since an earlier run: medians apart by more than the larger of the two spreads. Only exo regresses,
  /// since the others are not ours. Rows that either run lacks are left out.
  /// - Parameter tolerance: how much worse a median may be, 0.1 for a tenth.
  public func movements(since old: BenchReport, tolerance: Double) -> [Movement] {
    rows.flatMap { new in
      guard let before = old.rows.first(where: { $0.row.id == new.row.id }) else { return [Movement]() }
      return ContestantName.allCases.compactMap { name in
        guard let a = before[name], let b = new[name], a.median > 0 else { return nil }
        let difference = b.median - a.median
        guard abs(difference) > max(a.spread, b.spread) else { return nil }
        let worse = new.row.unit.smallerIsBetter ? difference : -difference
        return Movement(
          row: new.row, contestant: name, before: a.median, after: b.median,
          isRegression: name == .exo && worse > a.median * tolerance)
      }
    }
  }
}
