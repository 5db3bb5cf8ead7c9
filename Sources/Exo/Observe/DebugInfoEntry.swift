/// One entry of a unit's tree, of which only what a report uses is kept. Numbers: DWARF 5, section 7.5.
struct DebugEntry: Sendable {
  enum Tag { case subprogram, inlined, other }

  let tag: Tag
  let hasChildren: Bool
  var low, high, ranges: DebugValue?
  var name, linkageName, directory: DebugValue?
  /// The abstract function or the declaration it is a copy of.
  var origin: DebugValue?
  var callFile, callLine, lineTable: UInt64?
  var addressBase, rangeListBase, stringOffsetBase: UInt64?

  init(tag: UInt64, hasChildren: Bool) {
    self.tag = tag == 0x2e ? .subprogram : tag == 0x1d ? .inlined : .other
    self.hasChildren = hasChildren
  }

  mutating func set(_ attribute: UInt64, _ value: DebugValue) {
    switch attribute {
    case 0x03: name = value
    case 0x6e, 0x2007: linkageName = value
    case 0x11: low = value
    case 0x12: high = value
    case 0x55: ranges = value
    case 0x31, 0x47: origin = value
    case 0x1b: directory = value
    case 0x58: callFile = value.number
    case 0x59: callLine = value.number
    case 0x10: lineTable = value.number
    case 0x73: addressBase = value.number
    case 0x74: rangeListBase = value.number
    case 0x72: stringOffsetBase = value.number
    default: break
    }
  }
}

/// The value of an attribute as it is in the file.
enum DebugValue: Sendable {
  case number(UInt64)
  case address(UInt64)
  case addressIndex(UInt64)
  case text(LineText)
  case textIndex(UInt64)
  case rangeListIndex(UInt64)
  /// Offset within the unit.
  case reference(UInt64)
  /// Offset within the section.
  case farReference(UInt64)
  case other

  var number: UInt64? {
    if case .number(let value) = self { value } else { nil }
  }
}

extension ByteReader {
  /// A value of the given form; nil if it is cut off or of a form that cannot be stepped over.
  mutating func debugForm(_ form: UInt64, implicit: Int64, offsetSize: Int) -> DebugValue? {
    switch form {
    case 0x01: return u64().map { .address($0) }
    case 0x0b, 0x0c: return word(1).map { .number($0) }
    case 0x05: return word(2).map { .number($0) }
    case 0x06: return word(4).map { .number($0) }
    case 0x07: return u64().map { .number($0) }
    case 0x0d: return sleb().map { .number(UInt64(bitPattern: $0)) }
    case 0x0f: return uleb().map { .number($0) }
    case 0x17: return word(offsetSize).map { .number($0) }
    case 0x19: return .number(1)
    case 0x21: return .number(UInt64(bitPattern: implicit))
    case 0x08:
      let start = position
      return skipString() ? .text(.inline(start)) : nil
    case 0x0e: return word(offsetSize).map { .text(.string($0)) }
    case 0x1f: return word(offsetSize).map { .text(.lineString($0)) }
    case 0x1a: return uleb().map { .textIndex($0) }
    case 0x25...0x28: return word(Int(form) - 0x24).map { .textIndex($0) }
    case 0x1b: return uleb().map { .addressIndex($0) }
    case 0x29...0x2c: return word(Int(form) - 0x28).map { .addressIndex($0) }
    case 0x23: return uleb().map { .rangeListIndex($0) }
    case 0x11: return word(1).map { .reference($0) }
    case 0x12: return word(2).map { .reference($0) }
    case 0x13: return word(4).map { .reference($0) }
    case 0x14: return u64().map { .reference($0) }
    case 0x15: return uleb().map { .reference($0) }
    case 0x10: return word(offsetSize).map { .farReference($0) }
    case 0x22: return uleb().map { _ in .other }
    case 0x09, 0x18: return skipped(uleb())
    case 0x0a: return skipped(word(1))
    case 0x03: return skipped(word(2))
    case 0x04: return skipped(word(4))
    case 0x1e: return skipped(16)
    case 0x20, 0x24: return skipped(8)
    case 0x1c: return skipped(4)
    case 0x1d: return skipped(UInt64(offsetSize))
    default: return nil
    }
  }

  private mutating func skipped(_ count: UInt64?) -> DebugValue? {
    guard let count, skip(count) else { return nil }
    return .other
  }
}

/// The shapes of entries, by code. DWARF 5, section 7.5.3.
struct DebugAbbreviations: Sendable {
  struct Shape: Sendable {
    let tag: UInt64
    let hasChildren: Bool
    var attributes: [(name: UInt64, form: UInt64, implicit: Int64)] = []
  }

  private(set) var shapes: [UInt64: Shape] = [:]

  /// Some attributes take no bytes in an entry: their number is what bounds the work of reading one.
  private static let attributeLimit = 64

  fileprivate init(_ reader: inout ByteReader, _ budget: inout Int) {
    while budget > 0, let code = reader.uleb(), code != 0, let tag = reader.uleb(), let children = reader.u8()
    {
      var shape = Shape(tag: tag, hasChildren: children != 0)
      while true {
        budget -= 1
        guard let name = reader.uleb(), let form = reader.uleb() else { return }
        var implicit: Int64 = 0
        if form == 0x21 {
          guard let value = reader.sleb() else { return }
          implicit = value
        }
        if name == 0 && form == 0 { break }
        guard shape.attributes.count < Self.attributeLimit else { return }
        shape.attributes.append((name, form, implicit))
      }
      shapes[code] = shape
    }
  }

  /// Units share their tables; one made to share none would have the section read for each of them.
  struct Cache {
    private let sections: DebugSections
    private var tables: [UInt64: DebugAbbreviations] = [:]
    private var budget = 1 << 20

    init(_ sections: DebugSections) { self.sections = sections }

    mutating func table(at offset: UInt64) -> DebugAbbreviations? {
      if let table = tables[offset] { return table }
      guard budget > 0, var reader = sections.reader(sections.abbreviations, at: offset) else { return nil }
      let table = DebugAbbreviations(&reader, &budget)
      tables[offset] = table
      return table
    }
  }
}
