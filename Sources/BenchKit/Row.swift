/// What a row's figures count.
public enum BenchUnit: String, Sendable, CaseIterable {
  /// Nanoseconds for one operation.
  case nanoseconds = "ns"
  /// Bytes for one object.
  case bytes
  /// A share of the whole, in percent.
  case percent
  /// Operations a second.
  case rate = "1/s"

  /// Whether a smaller figure is the better one.
  public var smallerIsBetter: Bool { self != .rate }
}

/// Figures the paper published for a row: microseconds on a DECstation 5000/125, of 1995.
public struct PaperFigures: Equatable, Sendable {
  /// Engler, Kaashoek and O'Toole, SOSP 1995; nil: another paper, which the note names.
  public let table: Int?
  /// Ultrix 4.2; nil: not measured.
  public let ultrix: Double?
  /// Aegis and ExOS.
  public let exo: Double?
  public let note: String?

  public init(table: Int?, ultrix: Double?, exo: Double?, note: String? = nil) {
    self.table = table
    self.ultrix = ultrix
    self.exo = exo
    self.note = note
  }
}

/// One thing that is measured. Identifiers are fixed, so that results compare over time.
public struct BenchRow: Equatable, Sendable {
  public let id: String
  public let group: BenchGroup
  public let unit: BenchUnit
  /// What one operation is, in a few words.
  public let operation: String
  /// Which processors the parties run on, equal for every contestant; nil: one processor only.
  public let placement: String?
  public let paper: PaperFigures?
}

public enum BenchGroup: String, Sendable, CaseIterable {
  case calls, exceptions, transfer, ipc, vm
  case invertedVM = "vm_inverted"
  case compute, packets, life, share, global, scale
}
