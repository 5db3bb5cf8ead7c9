/// A JSON value, read and written without a library: the files and messages are small and their form is ours.
public indirect enum JSON: Equatable, Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSON])
  /// Members in the order they are written.
  case object([Member])

  public struct Member: Equatable, Sendable {
    public let name: String
    public let value: JSON
    public init(_ name: String, _ value: JSON) {
      self.name = name
      self.value = value
    }
  }

  /// The member of that name; nil if there is none or this is no object.
  public subscript(_ name: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }
  public var number: Double? { if case .number(let n) = self { n } else { nil } }
  public var string: String? { if case .string(let s) = self { s } else { nil } }
  public var array: [JSON]? { if case .array(let a) = self { a } else { nil } }
  public var bool: Bool? { if case .bool(let b) = self { b } else { nil } }
  /// A number that is whole and not negative.
  public var count: UInt64? { number.flatMap { UInt64(exactly: $0) } }
}

// --- Writing
extension JSON {
  /// The text, over several lines: an object or array whose members are all plain stays on one.
  public func text(indent: Int = 0) -> String {
    switch self {
    case .null: return "null"
    case .bool(let b): return b ? "true" : "false"
    case .number(let n): return Self.text(of: n)
    case .string(let s): return Self.quoted(s)
    case .array(let values):
      return Self.lines("[", values.map { $0.text(indent: indent + 2) }, "]", indent, values)
    case .object(let members):
      let texts = members.map { "\(Self.quoted($0.name)): \($0.value.text(indent: indent + 2))" }
      return Self.lines("{", texts, "}", indent, members.map(\.value))
    }
  }

  /// The text on one line, as in JSON Lines.
  public var line: String {
    switch self {
    case .array(let values): "[" + values.map(\.line).joined(separator: ",") + "]"
    case .object(let members):
      "{" + members.map { "\(Self.quoted($0.name)):\($0.value.line)" }.joined(separator: ",") + "}"
    default: text()
    }
  }

  private static func lines(
    _ open: String, _ texts: [String], _ close: String, _ indent: Int, _ values: [JSON]
  ) -> String {
    let plain = values.allSatisfy {
      switch $0 {
      case .array, .object: false
      default: true
      }
    }
    if plain { return open + texts.joined(separator: ", ") + close }
    let margin = String(repeating: " ", count: indent + 2)
    return "\(open)\n\(margin)" + texts.joined(separator: ",\n\(margin)")
      + "\n\(String(repeating: " ", count: indent))\(close)"
  }

  // JSON has no infinities; a whole number is written without a fraction.
  private static func text(of number: Double) -> String {
    guard number.isFinite else { return "null" }
    if let whole = Int64(exactly: number) { return String(whole) }
    return String(number)
  }

  /// A string as JSON writes it, quotes and all.
  public static func quoted(_ string: String) -> String {
    var result = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
