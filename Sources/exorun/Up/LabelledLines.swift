/// Cuts what one environment writes into lines, each with its label before it.
struct LabelledLines {
  /// A line longer than this is cut: what an environment writes must not fill this process's memory.
  static let limit = 8192

  private let label: [UInt8]
  private var rest: [UInt8] = []

  init(label: String) { self.label = Array(label.utf8) }

  /// The lines that are complete with these bytes, labelled.
  mutating func add(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    for byte in bytes {
      if byte != UInt8(ascii: "\n") { rest.append(byte) }
      if byte == UInt8(ascii: "\n") || rest.count == Self.limit { out += endLine() }
    }
    return out
  }

  /// What is left, as a line.
  mutating func finish() -> [UInt8] { rest.isEmpty ? [] : endLine() }

  private mutating func endLine() -> [UInt8] {
    defer { rest.removeAll(keepingCapacity: true) }
    return label + rest + [UInt8(ascii: "\n")]
  }
}
