/// Why a sample could not be had.
public enum SampleError: Error, Equatable, CustomStringConvertible {
  /// The row cannot run here.
  case unavailable(String)
  /// It should have run.
  case failed(String)

  public var description: String {
    switch self {
    case .unavailable(let reason): reason
    case .failed(let reason): "failed: \(reason)"
    }
  }
}

/// A party that can be measured.
public protocol Contestant: AnyObject {
  var name: ContestantName { get }
  /// Runs a row's operation `iterations` times; the figure for one, in the row's unit. Nil: it has no such row.
  func sample(row: BenchRow, iterations: UInt32) throws(SampleError) -> Double?
  /// How it does the row, in one line; asked after it has been measured.
  func describe(row: BenchRow) -> String?
  /// What its last sample of the row was drawn from; nil for most rows.
  func series(row: BenchRow) -> Series?
}
extension Contestant {
  public func series(row: BenchRow) -> Series? { nil }
}

/// Measures rows: contestants take turns, sample by sample, so that what disturbs the machine disturbs all alike.
public struct Sampler {
  /// Samples of each contestant.
  public var repeats = 20
  /// What one sample should take, in seconds; operations are repeated until it does.
  public var sampleTime = 0.015
  /// What one row may take, in seconds: then it has fewer samples, though at least `leastSamples`.
  public var rowTime = 3.0
  public var leastSamples = 3
  /// Seconds, from anywhere.
  public var clock: () -> Double

  public init(clock: @escaping () -> Double) { self.clock = clock }

  private struct Turn {
    let contestant: any Contestant
    var iterations: UInt32
    var samples: [Double] = []
  }

  /// - Parameter missing: why a contestant is not there at all, for the note.
  public func measure(
    _ row: BenchRow, _ contestants: [any Contestant], missing: [ContestantName: String] = [:]
  ) -> RowResult {
    var result = RowResult(row: row)
    var notes: [ContestantName: String] = missing
    var turns: [Turn] = []
    for contestant in contestants {
      do throws(SampleError) {
        if let turn = try calibrate(row, contestant) {
          turns.append(turn)
        } else {
          notes[contestant.name] = row.absence(of: contestant.name) ?? "does not exist yet"
        }
      } catch {
        notes[contestant.name] = error.description
      }
    }
    // Whoever had a try as long as that gets no more than it must.
    let end = clock() + (turns.contains { !$0.samples.isEmpty } ? 0 : rowTime)
    for round in 0..<max(1, repeats) where round < leastSamples || clock() < end {
      for index in turns.indices
      where notes[turns[index].contestant.name] == nil && turns[index].samples.count <= round {
        do throws(SampleError) {
          guard
            let figure = try turns[index].contestant.sample(row: row, iterations: turns[index].iterations)
          else { throw .failed("it could not be run again") }
          turns[index].samples.append(figure)
        } catch {
          notes[turns[index].contestant.name] = error.description
        }
      }
    }
    for turn in turns where notes[turn.contestant.name] == nil {
      result[turn.contestant.name] = Summary(of: turn.samples)
      notes[turn.contestant.name] = turn.contestant.describe(row: row)
      if let series = turn.contestant.series(row: row) {
        result.series = Series(x: series.x, y: series.y, lines: (result.series?.lines ?? []) + series.lines)
      }
    }
    let placement = row.placement.map { [$0] } ?? []
    result.note =
      (placement
      + ContestantName.allCases.compactMap { name in
        notes[name].map { "\(name.rawValue): \($0)" }
      }).joined(separator: "; ")
    return result
  }

  /// How many operations make a sample of the wanted length. The tries are the warm-up, and thrown away, but for one that
  /// takes so long that what is cold is no part of it. Nil: no such row.
  private func calibrate(_ row: BenchRow, _ contestant: any Contestant) throws(SampleError) -> Turn? {
    var iterations: UInt32 = 1
    var slowTries = 0
    while true {
      let begin = clock()
      guard let figure = try contestant.sample(row: row, iterations: iterations) else { return nil }
      let passed = clock() - begin
      // The operations' own time counts: reaching the party that runs them may take longer than many of them. Only
      // where that is so great again and again does it set the limit.
      let taken = row.unit == .nanoseconds ? figure * Double(iterations) / 1e9 : passed
      slowTries = passed > 20 * sampleTime ? slowTries + 1 : 0
      if taken >= sampleTime / 2 || slowTries == 3 || iterations >= 1 << 26 {
        return Turn(
          contestant: contestant, iterations: iterations, samples: passed > rowTime / 4 ? [figure] : [])
      }
      // Never more than tenfold: the first tries are slow with what is cold. And not so many that what is not timed, such as
      // protecting what is to be unprotected, takes a row's time for one sample.
      let wanted = min(10, max(2, sampleTime / max(taken, 1e-9)))
      let factor = min(wanted, max(1, 30 * sampleTime / max(passed, 1e-9)))
      iterations = UInt32(Double(iterations) * factor)
    }
  }
}
