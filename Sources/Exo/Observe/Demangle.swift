/// A linked name as its source spells it: `main.crash()`. Names of C stay as they are, and so do those that the
/// runtime does not know or that would cost too much. Printable, and short enough for a line of a report.
func demangled(_ name: String) -> String {
  // Guests are Embedded Swift, whose names begin with $e.
  guard name.hasPrefix("$"), DemangleCost.isBearable(name), let text = runtimeDemangled(name) else {
    return printable(name)
  }
  let nothing = " -> ()"
  return printable(text.hasSuffix(nothing) ? text.dropLast(nothing.count) : text[...])
}

/// Text from an image, fit for a terminal: no control characters, at most 400 characters.
func printable(_ text: some StringProtocol) -> String {
  let limit = 400
  var result = ""
  for (index, scalar) in text.unicodeScalars.enumerated() {
    guard index < limit else { return result + "..." }
    let isControl =
      scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
    result.unicodeScalars.append(isControl ? "?" : scalar)
  }
  return result
}

/// How long a demangled name may get. A name's author can make it exponential: each substitution repeats
/// something already read, which may hold such repetitions itself, so that 200 bytes fill any memory.
enum DemangleCost {
  static let longestName = 1_000
  static let limit = 1 << 24

  /// Whether an upper bound of the result's length is below the limit. Every `A` is taken for a substitution
  /// and every letter or digit that follows for one more repetition, which errs on the safe side.
  static func isBearable(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard bytes.count <= longestName else { return false }
    var bound = bytes.count
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      // Substitutions, and the standard library's types, which may be repeated too (S2i).
      guard byte == UInt8(ascii: "A") || byte == UInt8(ascii: "S") else { continue }
      var repetitions = 0
      var count = 0
      while index < bytes.count {
        switch bytes[index] {
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
          count = min(count * 10 + Int(bytes[index] - UInt8(ascii: "0")), limit)
          index += 1
          continue
        case UInt8(ascii: "a")...UInt8(ascii: "z") where byte == UInt8(ascii: "A"):
          repetitions += max(count, 1)
          count = 0
          index += 1
          continue
        default: break
        }
        break
      }
      repetitions += max(count, 1)
      if byte == UInt8(ascii: "A") {
        bound *= 1 + repetitions
      } else {
        bound += repetitions * 16
      }
      guard bound <= limit else { return false }
    }
    return true
  }
}
