// Figures as people read them.

/// Three significant digits and a unit: `141 ns`, `27.4 us`, `1.02 ms`, `64 KiB`.
public func figure(_ value: Double, _ unit: BenchUnit) -> String {
  switch unit {
  case .nanoseconds: scaled(value, 1000, ["ns", "us", "ms", "s"])
  case .bytes: scaled(value, 1024, ["B", "KiB", "MiB", "GiB"])
  case .percent: digits(value) + " %"
  case .rate: scaled(value, 1000, ["/s", "k/s", "M/s", "G/s"])
  }
}

private func scaled(_ value: Double, _ step: Double, _ units: [String]) -> String {
  var value = value
  var index = 0
  // 999.6 would be shown as 1000.
  while abs(value) >= step - 0.5, index + 1 < units.count {
    value /= step
    index += 1
  }
  return digits(value) + " " + units[index]
}

/// Three significant digits, never an exponent.
func digits(_ value: Double) -> String {
  let magnitude = abs(value)
  let places = magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2
  var factor = 1.0
  for _ in 0..<places { factor *= 10 }
  guard let whole = Int64(exactly: (magnitude * factor).rounded()) else { return String(value) }
  let sign = value < 0 && whole > 0 ? "-" : ""
  if places == 0 { return sign + String(whole) }
  let text = String(whole)
  let padded = String(repeating: "0", count: max(0, places + 1 - text.count)) + text
  return sign + padded.dropLast(places) + "." + padded.suffix(places)
}

/// `1.38x`
func ratio(_ value: Double?) -> String { value.map { digits($0) + "x" } ?? "-" }
