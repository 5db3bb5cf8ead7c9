import Glibc

/// Maps values to pixels, and says where the marks are.
struct Axis {
  struct Mark: Equatable {
    let value: Double
    let label: String
  }
  let isLogarithmic: Bool
  let range: ClosedRange<Double>
  /// Where the range's ends are.
  let from: Double
  let to: Double

  /// No figure is beyond these; one from a damaged file counts for nothing.
  private static let greatest = 1e15
  private static let smallest = 1e-6

  /// Whole decades around the values; those that are not above 0 count for nothing.
  static func logarithmic(_ values: [Double], from: Double, to: Double) -> Axis {
    let usable = values.filter { (smallest...greatest).contains($0) }
    let low = floor(log10(usable.min() ?? 1))
    let high = max(low + 1, ceil(log10(usable.max() ?? 10)))
    return Axis(isLogarithmic: true, range: pow(10, low)...pow(10, high), from: from, to: to)
  }
  /// From 0, or from the least value if that is below, to a round number.
  static func linear(_ values: [Double], from: Double, to: Double) -> Axis {
    let usable = values.filter { (-greatest...greatest).contains($0) }
    let low = min(0, usable.min() ?? 0)
    let high = max(usable.max() ?? 1, low + 1e-9)
    let step = step(for: high - low)
    return Axis(
      isLogarithmic: false, range: floor(low / step) * step...ceil(high / step) * step, from: from, to: to)
  }

  /// 1, 2 or 5 times a power of ten, so that there are about five steps.
  private static func step(for length: Double) -> Double {
    let rough = length / 5
    let power = pow(10, floor(log10(rough)))
    let factor: Double = rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10
    return factor * power
  }

  /// Values outside the range are shown at its end.
  func position(_ value: Double) -> Double {
    let value = min(max(value.isNaN ? range.lowerBound : value, range.lowerBound), range.upperBound)
    let share =
      isLogarithmic
      ? log10(value / range.lowerBound) / log10(range.upperBound / range.lowerBound)
      : (value - range.lowerBound) / (range.upperBound - range.lowerBound)
    return from + share * (to - from)
  }

  /// - Parameter text: how a value is written.
  func marks(_ text: (Double) -> String) -> [Mark] {
    if isLogarithmic {
      let first = log10(range.lowerBound).rounded()
      let count = (log10(range.upperBound) - first).rounded()
      // Not more than fit.
      let every = max(1, ceil(count / 8))
      return stride(from: first, through: first + count, by: every).map {
        let value = pow(10, $0)
        return Mark(value: value, label: text(value))
      }
    }
    let step = Self.step(for: range.upperBound - range.lowerBound)
    return stride(from: range.lowerBound, through: range.upperBound + step / 2, by: step).map {
      Mark(value: $0, label: text($0))
    }
  }
}

/// A figure on an axis: without digits that say nothing.
func markText(_ value: Double, _ unit: BenchUnit) -> String {
  let text = figure(value, unit)
  guard let space = text.firstIndex(of: " ") else { return plain(text) }
  return plain(String(text[..<space])) + text[space...]
}
func markText(_ value: Double) -> String {
  for (size, letter) in [(1e9, "G"), (1e6, "M"), (1e4, "k")] where abs(value) >= size {
    let factor = letter == "k" ? 1e3 : size
    return plain(digits(value / factor)) + letter
  }
  return plain(digits(value))
}
private func plain(_ number: String) -> String {
  guard number.contains(".") else { return number }
  var number = number
  while number.hasSuffix("0") { number.removeLast() }
  if number.hasSuffix(".") { number.removeLast() }
  return number
}
