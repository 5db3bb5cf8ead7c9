/// A TOML document (https://toml.io/en/v1.0.0), in the part of the language that configuration needs: tables, arrays of
/// tables, inline tables, dotted and quoted keys, strings of one line, integers, booleans, arrays and comments. Strings of
/// several lines, floats, dates and times are refused by name.
///
/// Reading goes on after a mistake, so that all of them are known at once; what a line with a mistake would have set is
/// missing.
public struct TOMLDocument {
  public let root: TOMLTable
  /// In the order of their lines.
  public let problems: [TOMLProblem]

  /// Reads a document. Never fails: see `problems`.
  public init(_ bytes: [UInt8]) {
    var parser = TOMLParser(bytes)
    parser.parse()
    root = parser.root
    problems = parser.problems.enumerated().sorted {
      ($0.element.line, $0.offset) < ($1.element.line, $1.offset)
    }.map(\.element)
  }

  public init(_ text: String) { self.init(Array(text.utf8)) }
}
