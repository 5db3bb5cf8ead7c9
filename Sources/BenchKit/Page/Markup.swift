// Text as HTML and SVG want it.

/// Text within an element or a quoted attribute.
func escaped(_ text: String) -> String {
  var result = ""
  for character in text.unicodeScalars {
    switch character {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    case "'": result += "&#39;"
    default: result.unicodeScalars.append(character)
    }
  }
  return result
}

/// A coordinate, to a tenth of a pixel. What is no number or far outside any drawing is 0: it came from a damaged file.
func place(_ value: Double) -> String {
  guard value.isFinite, abs(value) < 1e6 else { return "0" }
  let tenths = Int((value * 10).rounded())
  return tenths % 10 == 0 ? "\(tenths / 10)" : "\(Double(tenths) / 10)"
}

/// An SVG drawing with its description for those who do not see it.
func drawing(width: Double, height: Double, label: String, _ body: String) -> String {
  """
  <svg viewBox="0 0 \(place(width)) \(place(height))" role="img" aria-label="\(escaped(label))">
  \(body)</svg>

  """
}

enum Anchor: String { case start, middle, end }

func svgText(
  _ text: String, x: Double, y: Double, _ anchor: Anchor = .start, style: String = "label"
) -> String {
  "<text x=\"\(place(x))\" y=\"\(place(y))\" class=\"\(style)\" text-anchor=\"\(anchor.rawValue)\">"
    + "\(escaped(text))</text>\n"
}
func svgLine(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, style: String) -> String {
  "<line x1=\"\(place(x1))\" y1=\"\(place(y1))\" x2=\"\(place(x2))\" y2=\"\(place(y2))\" class=\"\(style)\"/>\n"
}
