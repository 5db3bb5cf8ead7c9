import ArgumentParser

/// An amount of memory as people type it: `64M`, `1GiB`, `1048576`. Powers of 1,024.
func parseMemorySize(_ text: String) throws -> UInt64 {
  let (digits, suffix) = split(text)
  let shifts: [String: UInt64] = [
    "": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30,
    "t": 40, "tb": 40, "tib": 40,
  ]
  guard let shift = shifts[suffix.lowercased()] else {
    throw ValidationError("`\(suffix)` is no unit of memory: use K, M or G")
  }
  guard let value = UInt64(digits) else {
    throw ValidationError("`\(text)` is no amount of memory: write 64M or 1G")
  }
  let (bytes, overflow) = value.multipliedReportingOverflow(by: 1 << shift)
  return overflow ? .max & ~0xfff : bytes
}

/// A span of time as people type it: `10s`, `500ms`, `1.5m`; plain numbers are seconds.
func parseDuration(_ text: String) throws -> Duration {
  let (digits, suffix) = split(text)
  let units: [String: Double] = ["": 1, "s": 1, "ms": 1e-3, "us": 1e-6, "m": 60, "min": 60, "h": 3600]
  guard let unit = units[suffix.lowercased()] else {
    throw ValidationError("`\(suffix)` is no unit of time: use ms, s, m or h")
  }
  guard let value = Double(digits), value.isFinite else {
    throw ValidationError("`\(text)` is no span of time: write 10s or 500ms")
  }
  let seconds = value * unit
  guard seconds > 0 else { throw ValidationError("a time limit must be longer than 0") }
  guard seconds < 1e9 else { throw ValidationError("`\(text)` is longer than any guest will run") }
  return .nanoseconds(Int64(seconds * 1e9))
}

/// The number and the letters after it.
private func split(_ text: String) -> (digits: String, suffix: String) {
  let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
  return (String(digits), String(text.dropFirst(digits.count)))
}

/// A variable of a guest's environment, `NAME=value`.
func parseVariable(_ text: String) throws -> String {
  guard let equals = text.firstIndex(of: "="), equals > text.startIndex else {
    throw ValidationError("`\(text)` is no variable: write NAME=value")
  }
  return text
}

extension Duration {
  /// Whole nanoseconds, for spans below 292 years.
  var nanosecondCount: Int64 {
    components.seconds &* 1_000_000_000 &+ components.attoseconds / 1_000_000_000
  }
  /// In microseconds, to a tenth.
  var microseconds: Double { Double(nanosecondCount / 100) / 10 }

  /// With three digits and the unit that fits: `1.52 ms`, `10 s`.
  var text: String {
    let value = Double(nanosecondCount)
    let units: [(String, Double)] = [("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1)]
    let (unit, size) = units.first { value >= $0.1 } ?? ("ns", 1)
    return "\(decimal(value / size)) \(unit)"
  }
}

/// Three significant digits, without trailing zeros.
func decimal(_ value: Double) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
  let magnitude = abs(value)
  let scale: Double = magnitude >= 100 ? 1 : magnitude >= 10 ? 10 : 100
  let rounded = (value * scale).rounded() / scale
  if let whole = Int64(exactly: rounded) { return String(whole) }
  return String(rounded)
}

/// An amount of memory in the largest unit that leaves a whole number, or one decimal.
func memoryText(_ bytes: UInt64) -> String {
  let units: [(String, UInt64)] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
  guard let (unit, size) = units.first(where: { bytes >= $0.1 }) else { return "\(bytes) bytes" }
  return "\(decimal(Double(bytes) / Double(size))) \(unit)"
}
