/// Why a text is not JSON.
public enum JSONError: Error, Equatable, CustomStringConvertible {
  case unexpected(byte: UInt8, offset: Int)
  case endOfText
  case tooDeep(offset: Int)
  case badNumber(offset: Int)
  case badString(offset: Int)

  public var description: String {
    switch self {
    case .unexpected(let byte, let offset):
      "unexpected \"\(Character(Unicode.Scalar(byte)))\" at byte \(offset)"
    case .endOfText: "the text ends too early"
    case .tooDeep(let offset): "nested too deeply at byte \(offset)"
    case .badNumber(let offset): "not a number at byte \(offset)"
    case .badString(let offset): "not a string at byte \(offset)"
    }
  }
}

extension JSON {
  /// Reads one value that makes up the whole text.
  public init(parsing text: String) throws(JSONError) {
    var reader = JSONReader(bytes: Array(text.utf8))
    self = try reader.value(depth: 0)
    reader.skipSpace()
    if let byte = reader.peek { throw .unexpected(byte: byte, offset: reader.offset) }
  }
}

private struct JSONReader {
  let bytes: [UInt8]
  var offset = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  var peek: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  mutating func skipSpace() {
    while let byte = peek, [0x20, 0x0a, 0x0d, 0x09].contains(byte) { offset += 1 }
  }
  private mutating func next() throws(JSONError) -> UInt8 {
    guard let byte = peek else { throw .endOfText }
    offset += 1
    return byte
  }
  private mutating func take(_ byte: Character) -> Bool {
    guard peek == byte.asciiValue else { return false }
    offset += 1
    return true
  }
  private mutating func expect(_ word: String) throws(JSONError) {
    for byte in word.utf8 {
      let at = offset
      let found = try next()
      if found != byte { throw .unexpected(byte: found, offset: at) }
    }
  }

  mutating func value(depth: Int) throws(JSONError) -> JSON {
    guard depth < 64 else { throw .tooDeep(offset: offset) }
    skipSpace()
    guard let byte = peek else { throw .endOfText }
    switch byte {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"):
      try expect("true")
      return .bool(true)
    case UInt8(ascii: "f"):
      try expect("false")
      return .bool(false)
    case UInt8(ascii: "n"):
      try expect("null")
      return .null
    default: return .number(try number())
    }
  }

  private mutating func object(depth: Int) throws(JSONError) -> JSON {
    offset += 1
    var members: [JSON.Member] = []
    skipSpace()
    if take("}") { return .object(members) }
    repeat {
      skipSpace()
      let name = try string()
      skipSpace()
      try expect(":")
      members.append(JSON.Member(name, try value(depth: depth + 1)))
      skipSpace()
    } while take(",")
    try expect("}")
    return .object(members)
  }

  private mutating func array(depth: Int) throws(JSONError) -> JSON {
    offset += 1
    var values: [JSON] = []
    skipSpace()
    if take("]") { return .array(values) }
    repeat {
      values.append(try value(depth: depth + 1))
      skipSpace()
    } while take(",")
    try expect("]")
    return .array(values)
  }

  private mutating func number() throws(JSONError) -> Double {
    let start = offset
    while let byte = peek, "+-.eE0123456789".utf8.contains(byte) { offset += 1 }
    guard offset > start else {
      throw peek.map { .unexpected(byte: $0, offset: start) } ?? .endOfText
    }
    guard let number = Double(String(decoding: bytes[start..<offset], as: UTF8.self)) else {
      throw .badNumber(offset: start)
    }
    return number
  }

  private mutating func string() throws(JSONError) -> String {
    let start = offset
    try expect("\"")
    var units: [UInt8] = []
    while true {
      switch try next() {
      case UInt8(ascii: "\""): return String(decoding: units, as: UTF8.self)
      case UInt8(ascii: "\\"): units += Array(try escape(start).utf8)
      case let byte where byte < 0x20: throw .badString(offset: start)
      case let byte: units.append(byte)
      }
    }
  }
  private mutating func escape(_ start: Int) throws(JSONError) -> String {
    switch try next() {
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "u"):
      var unit = try hexadecimal(start)
      if (0xd800..<0xdc00).contains(unit), take("\\"), take("u") {
        unit = 0x10000 + (unit - 0xd800) << 10 + (try hexadecimal(start) &- 0xdc00) & 0x3ff
      }
      guard let scalar = Unicode.Scalar(unit) else { throw .badString(offset: start) }
      return String(Character(scalar))
    case let byte where "\"\\/".utf8.contains(byte): return String(Character(Unicode.Scalar(byte)))
    default: throw .badString(offset: start)
    }
  }
  private mutating func hexadecimal(_ start: Int) throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(try next())).hexDigitValue else {
        throw .badString(offset: start)
      }
      value = value << 4 | UInt32(digit)
    }
    return value
  }
}
