import JSONText

extension JSON {
  /// An object, its members in the order they are written.
  static func members(_ members: [(name: String, value: JSON)]) -> JSON {
    .object(members.map { Member($0.name, $0.value) })
  }
  static func integer<T: BinaryInteger>(_ value: T) -> JSON { .number(Double(value)) }
  static func optional(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
  static func strings(_ texts: [String]) -> JSON { .array(texts.map { .string($0) }) }
}
