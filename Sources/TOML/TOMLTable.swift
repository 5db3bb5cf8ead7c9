/// A table of a TOML document: values by key, each with the line it came from.
public final class TOMLTable {
  public struct Entry {
    public let key: String
    /// Line of the key, from 1.
    public let line: Int
    public internal(set) var value: TOMLValue
  }

  /// How it came to be, which says who may add to it.
  enum Origin {
    /// By a header.
    case header
    /// As part of the path of a header: its own header may still come.
    case path
    /// As part of a dotted key.
    case dottedKey
    /// Written as a value, and complete with it.
    case inline
  }

  /// Line of its header or its opening brace, from 1.
  public internal(set) var line: Int
  var origin: Origin
  /// In the order of the document.
  public private(set) var entries: [Entry] = []
  private var places: [String: Int] = [:]

  init(line: Int, _ origin: Origin) {
    self.line = line
    self.origin = origin
  }

  public subscript(key: String) -> Entry? { places[key].map { entries[$0] } }

  func append(_ entry: Entry) {
    places[entry.key] = entries.count
    entries.append(entry)
  }

  func replace(_ key: String, with value: TOMLValue) {
    if let place = places[key] { entries[place].value = value }
  }
}

/// A value of a TOML document. Floats, dates and times are not among what is read here.
public enum TOMLValue {
  case string(String)
  case integer(Int64)
  case boolean(Bool)
  case array([TOMLElement])
  case table(TOMLTable)
  /// An array of tables, made by `[[headers]]`.
  case tables([TOMLTable])

  /// Its kind with an article, for messages.
  public var kind: String {
    switch self {
    case .string: "a string"
    case .integer: "an integer"
    case .boolean: "a boolean"
    case .array: "an array"
    case .table: "a table"
    case .tables: "an array of tables"
    }
  }
}

/// A value in an array.
public struct TOMLElement {
  /// From 1.
  public let line: Int
  public let value: TOMLValue
}

/// A mistake in a document.
public struct TOMLProblem: Error, Hashable, Sendable, CustomStringConvertible {
  /// From 1.
  public let line: Int
  public let message: String

  public init(line: Int, _ message: String) {
    self.line = line
    self.message = message
  }

  public var description: String { "line \(line): \(message)" }
}
