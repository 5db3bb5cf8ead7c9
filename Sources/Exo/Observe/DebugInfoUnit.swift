/// One compilation in `.debug_info`, with what its first entry says about all of it.
struct DebugUnit: Sendable {
  /// In the file: what references within the unit count from.
  let start: Int
  let version: UInt16
  let offsetSize: Int
  /// In the file: all entries, the first included.
  let entries: Range<Int>
  let root: DebugEntry
  private let abbreviations: DebugAbbreviations

  init?(
    _ reader: ByteReader, start: Int, offsetSize: Int, _ known: inout DebugAbbreviations.Cache
  ) {
    var reader = reader
    guard let version = reader.u16(), version == 4 || version == 5 else { return nil }
    let offset: UInt64?
    if version == 5 {
      // Whole compilations only: no type units, nothing split off to other files.
      guard reader.u8() == 1, reader.u8() == 8 else { return nil }
      offset = reader.word(offsetSize)
    } else {
      offset = reader.word(offsetSize)
      guard reader.u8() == 8 else { return nil }
    }
    guard let offset, let abbreviations = known.table(at: offset) else { return nil }
    self.start = start
    self.version = version
    self.offsetSize = offsetSize
    self.abbreviations = abbreviations
    entries = reader.position..<reader.end
    guard let root = Self.next(&reader, abbreviations, offsetSize)?.entry else { return nil }
    self.root = root
  }

  /// The next entry, or none where a list of children ends; nil where the unit does.
  func next(_ reader: inout ByteReader) -> (entry: DebugEntry?, Void)? {
    Self.next(&reader, abbreviations, offsetSize)
  }

  private static func next(
    _ reader: inout ByteReader, _ abbreviations: DebugAbbreviations, _ offsetSize: Int
  ) -> (entry: DebugEntry?, Void)? {
    guard let code = reader.uleb() else { return nil }
    guard code != 0 else { return (nil, ()) }
    guard let shape = abbreviations.shapes[code] else { return nil }
    var entry = DebugEntry(tag: shape.tag, hasChildren: shape.hasChildren)
    for (name, form, implicit) in shape.attributes {
      guard let value = reader.debugForm(form, implicit: implicit, offsetSize: offsetSize) else { return nil }
      entry.set(name, value)
    }
    return (entry, ())
  }

  // MARK: Values that lie in other sections

  func string(_ value: DebugValue, _ sections: DebugSections) -> String? {
    switch value {
    case .text(let text): return text.string(sections.strings)
    case .textIndex(let index):
      return sections.word(index, size: offsetSize, of: sections.stringOffsets, base: root.stringOffsetBase)
        .flatMap { sections.strings.string(at: $0, in: sections.strings.strings) }
    default: return nil
    }
  }

  /// The place in the file that a reference means.
  func position(_ value: DebugValue, _ sections: DebugSections) -> Int? {
    let (base, offset): (Int, UInt64)
    switch value {
    case .reference(let distance): (base, offset) = (start, distance)
    case .farReference(let distance): (base, offset) = (sections.info.lowerBound, distance)
    default: return nil
    }
    guard let distance = Int(exactly: offset), distance < sections.bytes.count else { return nil }
    return base + distance
  }

  private func address(_ value: DebugValue?, _ sections: DebugSections) -> UInt64? {
    switch value {
    case .address(let address): address
    case .addressIndex(let index): indexed(index, sections)
    default: nil
    }
  }

  private func indexed(_ index: UInt64?, _ sections: DebugSections) -> UInt64? {
    index.flatMap { sections.word($0, size: 8, of: sections.addresses, base: root.addressBase) }
  }

  // MARK: Ranges of addresses

  /// Whether an entry of the unit can cover `address`.
  func mayContain(_ address: UInt64, _ sections: DebugSections, _ budget: inout Int) -> Bool {
    root.ranges == nil && root.high == nil || covers(root, address, sections, &budget)
  }

  /// Whether `address` belongs to the code that an entry describes.
  func covers(
    _ entry: DebugEntry, _ address: UInt64, _ sections: DebugSections, _ budget: inout Int
  ) -> Bool {
    if let ranges = entry.ranges {
      return version == 5
        ? inRangeList(ranges, address, sections, &budget) : inRanges(ranges, address, sections, &budget)
    }
    // Code that the linker dropped is left at address 0.
    guard let low = self.address(entry.low, sections), low != 0, address >= low else { return false }
    if let size = entry.high?.number { return address - low < size }
    return self.address(entry.high, sections).map { address < $0 } ?? false
  }

  /// Version 4: pairs of offsets from a base, up to a pair of zeros.
  private func inRanges(
    _ value: DebugValue, _ address: UInt64, _ sections: DebugSections, _ budget: inout Int
  ) -> Bool {
    guard var reader = sections.reader(sections.ranges, at: value.number) else { return false }
    var base = self.address(root.low, sections) ?? 0
    while budget > 0, let low = reader.u64(), let high = reader.u64(), low != 0 || high != 0 {
      budget -= 1
      if low == .max {
        base = high
      } else if low != high, address >= base &+ low, address < base &+ high {
        return true
      }
    }
    return false
  }

  /// Version 5: tagged pieces (DWARF 5, section 7.25).
  private func inRangeList(
    _ value: DebugValue, _ address: UInt64, _ sections: DebugSections, _ budget: inout Int
  ) -> Bool {
    let place: UInt64?
    if case .rangeListIndex(let index) = value {
      let offset = sections.word(index, size: offsetSize, of: sections.rangeLists, base: root.rangeListBase)
      place = offset.flatMap { offset in root.rangeListBase.map { $0 &+ offset } }
    } else {
      place = value.number
    }
    guard var reader = sections.reader(sections.rangeLists, at: place) else { return false }
    var base = self.address(root.low, sections) ?? 0
    while budget > 0, let kind = reader.u8() {
      budget -= 1
      let low: UInt64?
      let high: UInt64?
      switch kind {
      case 1:
        guard let value = indexed(reader.uleb(), sections) else { return false }
        base = value
        continue
      case 2: (low, high) = (indexed(reader.uleb(), sections), indexed(reader.uleb(), sections))
      case 3:
        low = indexed(reader.uleb(), sections)
        high = reader.uleb().flatMap { size in low.map { $0 &+ size } }
      case 4: (low, high) = (reader.uleb().map { base &+ $0 }, reader.uleb().map { base &+ $0 })
      case 5:
        guard let value = reader.u64() else { return false }
        base = value
        continue
      case 6: (low, high) = (reader.u64(), reader.u64())
      case 7:
        low = reader.u64()
        high = reader.uleb().flatMap { size in low.map { $0 &+ size } }
      default: return false
      }
      guard let low, let high else { return false }
      if low != 0, address >= low, address < high { return true }
    }
    return false
  }
}
