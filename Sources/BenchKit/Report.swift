/// The parties to a measurement.
public enum ContestantName: String, Sendable, CaseIterable {
  /// A real guest on the exokernel.
  case exo
  /// The best ordinary way to do the same on this machine.
  case linux
  /// The bare mechanism in the same kind of virtual machine.
  case floor
}

/// A row as measured.
public struct RowResult: Equatable, Sendable {
  public let row: BenchRow
  public var exo: Summary?
  public var linux: Summary?
  public var floor: Summary?
  /// How the others do it, and why a contestant is missing.
  public var note: String
  /// What the last sample was made of, for rows whose figure is drawn from a course of time.
  public var series: Series?

  public init(
    row: BenchRow, exo: Summary? = nil, linux: Summary? = nil, floor: Summary? = nil, note: String = "",
    series: Series? = nil
  ) {
    self.row = row
    self.exo = exo
    self.linux = linux
    self.floor = floor
    self.note = note
    self.series = series
  }

  public subscript(_ name: ContestantName) -> Summary? {
    get {
      switch name {
      case .exo: exo
      case .linux: linux
      case .floor: floor
      }
    }
    set {
      switch name {
      case .exo: exo = newValue
      case .linux: linux = newValue
      case .floor: floor = newValue
      }
    }
  }

  /// How many times as long Linux takes, median over median.
  public var linuxOverExo: Double? { ratio(linux, exo) }
  /// How many times as long as the bare mechanism we take, median over median.
  public var exoOverFloor: Double? { ratio(exo, floor) }

  private func ratio(_ a: Summary?, _ b: Summary?) -> Double? {
    guard let a, let b, b.median > 0 else { return nil }
    return a.median / b.median
  }
}

/// One run of the benchmark.
public struct BenchReport: Equatable, Sendable {
  /// The version of the JSON form.
  public static let schema = 1
  /// What it ran on: facts by name, in order.
  public var machine: [Fact]
  public var rows: [RowResult]

  public struct Fact: Equatable, Sendable {
    public let name: String
    public let value: String
    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  public init(machine: [Fact], rows: [RowResult]) {
    self.machine = machine
    self.rows = rows
  }
}
