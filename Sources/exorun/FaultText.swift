import Exo
import JSONText

/// A fault and where it happened, for people to read.
struct FaultText {
  let report: FaultReport
  /// Where it happened, and the calls that led there, innermost first.
  let locations: [SourceLocation]

  init(_ report: FaultReport, in image: GuestImage) {
    self.report = report
    let symbolizer = Symbolizer(image: image)
    locations =
      [symbolizer.location(of: GuestAddress(report.registers.rip))]
      + report.backtrace.map { symbolizer.location(ofReturnAddress: $0) }
  }

  /// `page fault (#PF) at 0x0: write, nothing mapped; in crash() + 12 at Crash.swift:7`
  var headline: String {
    var text = "\(report.vector.meaning) (\(report.vector.mnemonic))"
    if let access = report.accessDescription, let address = report.address {
      text += " at \(address): \(access)"
    }
    return text + "; in \(Self.simple(locations[0]))"
  }

  /// What follows the headline, line by line.
  func details(_ style: TextStyle) -> [String] {
    registers(style) + ["error code \(report.errorCode), code at rip: \(code)"] + backtrace(style)
  }

  private func registers(_ style: TextStyle) -> [String] {
    func cell(_ name: String, _ text: String) -> String { "\(style.faint(name.padded(to: 3))) \(text)" }
    func word(_ value: UInt64) -> String { String(value, radix: 16).leftPadded(to: 16, with: "0") }
    let wide = report.registers.named.filter { !["cs", "ss", "rflags", "rip"].contains($0.name) }
    let rows = stride(from: 0, to: wide.count, by: 4).map { row in
      wide[row..<min(row + 4, wide.count)].map { cell($0.name, word($0.value)) }.joined(separator: "  ")
    }
    let r = report.registers
    let last = [
      cell("rip", word(r.rip)), cell("cs", String(r.cs, radix: 16)), cell("ss", String(r.ss, radix: 16)),
      cell("flags", Self.flags(r.rflags)),
    ]
    return rows + [last.joined(separator: "  ")]
  }

  /// The number and the names of the flags that are set (Intel SDM 1, 3.4.3).
  private static func flags(_ value: UInt64) -> String {
    let names: [(Int, String)] = [
      (0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (8, "TF"), (9, "IF"), (10, "DF"), (11, "OF"),
      (18, "AC"),
    ]
    let set = names.filter { value >> $0.0 & 1 != 0 }.map(\.1)
    return "\(String(value, radix: 16)) (\(set.joined(separator: " ")))"
  }

  private var code: String {
    report.code.isEmpty
      ? "not readable"
      : report.code.map { String($0, radix: 16).leftPadded(to: 2, with: "0") }.joined(separator: " ")
  }

  private func backtrace(_ style: TextStyle) -> [String] {
    locations.enumerated().map { index, location in
      let address = String(location.address.value, radix: 16).leftPadded(to: 16, with: "0")
      let place = location.function == nil ? "outside the image's functions" : Self.simple(location)
      return "\(style.faint("#\(index)".padded(to: 3))) \(style.faint(address))  \(place)"
    }
  }
}

extension FaultText {
  /// Without what a reader of the source does not see: the standard library's name, and the marks that keep apart
  /// functions private to a file, `(name in _8C31...)`.
  static func simple(_ location: SourceLocation) -> String {
    var rest = location.description.replacing("Swift.", with: "")[...]
    var result = ""
    while let mark = rest.firstRange(of: " in _") {
      let end = rest[mark.upperBound...].firstIndex { !$0.isHexDigit }
      guard let open = rest[..<mark.lowerBound].lastIndex(of: "("), let end, rest[end] == ")" else { break }
      result += rest[..<open] + rest[rest.index(after: open)..<mark.lowerBound]
      rest = rest[rest.index(after: end)...]
    }
    return result + rest
  }
}

extension FaultText {
  var json: JSON {
    let registers = report.registers.named.map { (name: $0.name, value: JSON.string(Self.text($0.value))) }
    return .members([
      ("vector", .integer(report.vector.number)), ("mnemonic", .string(report.vector.mnemonic)),
      ("meaning", .string(report.vector.meaning)), ("errorCode", .integer(report.errorCode)),
      ("address", .optional(report.address.map { Self.text($0.value) })),
      ("access", .optional(report.accessDescription)), ("registers", .members(registers)),
      ("code", .array(report.code.map { .integer($0) })),
      ("backtrace", .array(locations.map(Self.json))),
    ])
  }

  /// Addresses and registers as text: JSON's numbers lose bits past the 53rd.
  private static func text(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

  private static func json(_ location: SourceLocation) -> JSON {
    .members([
      ("address", .string(text(location.address.value))), ("function", .optional(location.function)),
      ("offset", .integer(location.offset)), ("inlined", .optional(location.inlined)),
      ("file", .optional(location.file)), ("line", location.line.map { .integer($0) } ?? .null),
      ("failure", .optional(location.failure)),
    ])
  }
}
