/// What was inlined where, from `.debug_info`: optimised code mixes the lines of several functions, and the
/// traps that Swift puts into it name their reason as a function inlined at that place.
///
/// Format (DWARF 4 and 5, section 7.5): units, each a tree of entries in prefix order whose shapes are in
/// `.debug_abbrev`. A lookup walks the unit that covers the address; every step consumes bytes, and the number of
/// steps has a limit, because all of it may be garbage.
struct DebugInfo: Sendable {
  /// Code of one function within another.
  struct Inlining {
    /// As linked; nil if unknown.
    let name: String?
    /// Where the outer function calls it, in the numbers of the unit's line table.
    let callFile: UInt64
    let callLine: UInt64
  }

  struct Scopes {
    /// The directory of the compilation, where relative paths start.
    let directory: String?
    /// Offset of the unit's line table.
    let lineTable: UInt64?
    /// From the outermost to the innermost.
    let inlined: [Inlining]
  }

  /// Entries one lookup may visit, and pieces of ranges it may read.
  private static let stepLimit = 1 << 21
  /// Functions within functions; compilers make a dozen.
  private static let depthLimit = 64

  let sections: DebugSections
  private let units: [DebugUnit]

  init?(_ image: ImageSections) {
    guard let sections = DebugSections(image) else { return nil }
    var units: [DebugUnit] = []
    var known = DebugAbbreviations.Cache(sections)
    var reader = ByteReader(sections.bytes, in: sections.info)
    while !reader.isAtEnd {
      let start = reader.position
      guard let (unit, offsetSize) = reader.dwarfUnit() else { break }
      if let unit = DebugUnit(unit, start: start, offsetSize: offsetSize, &known) { units.append(unit) }
    }
    guard !units.isEmpty else { return nil }
    self.sections = sections
    self.units = units
  }

  /// The functions inlined around the instruction at `address`; nil where no function is described.
  func scopes(of address: GuestAddress) -> Scopes? {
    var budget = Self.stepLimit
    for unit in units where unit.mayContain(address.value, sections, &budget) {
      guard let inlined = inlined(in: unit, at: address.value, &budget) else { continue }
      return Scopes(
        directory: unit.root.directory.flatMap { unit.string($0, sections) },
        lineTable: unit.root.lineTable, inlined: inlined)
    }
    return nil
  }

  private func inlined(in unit: DebugUnit, at address: UInt64, _ budget: inout Int) -> [Inlining]? {
    var reader = ByteReader(sections.bytes, in: unit.entries)
    var depth = 0
    // The depth of the function that covers the address, once it has been met.
    var function: Int?
    var result: [Inlining] = []
    while budget > 0, let step = unit.next(&reader) {
      budget -= 1
      guard let entry = step.entry else {
        depth -= 1
        if let function, depth <= function { return result }
        if depth <= 0 { break }
        continue
      }
      switch entry.tag {
      case .subprogram where unit.covers(entry, address, sections, &budget):
        function = depth
        result = []
        if !entry.hasChildren { return [] }
      case .inlined
      where function != nil && result.count < Self.depthLimit
        && unit.covers(entry, address, sections, &budget):
        result.append(
          Inlining(
            name: name(of: entry, in: unit), callFile: entry.callFile ?? 0, callLine: entry.callLine ?? 0))
      default: break
      }
      if entry.hasChildren { depth += 1 }
    }
    return function == nil ? nil : result
  }

  /// The name of a function, which an inlined copy only refers to.
  private func name(of entry: DebugEntry, in unit: DebugUnit) -> String? {
    var (entry, unit) = (entry, unit)
    // A copy refers to the abstract function, that to its declaration.
    for _ in 0..<4 {
      if let text = entry.linkageName ?? entry.name { return unit.string(text, sections) }
      guard let reference = entry.origin, let position = unit.position(reference, sections),
        let owner = units.first(where: { $0.entries.contains(position) })
      else { return nil }
      var reader = ByteReader(sections.bytes, in: position..<owner.entries.upperBound)
      guard let referred = owner.next(&reader)?.entry else { return nil }
      (entry, unit) = (referred, owner)
    }
    return nil
  }
}

/// The sections that debug information is spread over; all but the first two may be missing.
struct DebugSections: Sendable {
  let bytes: [UInt8]
  let info: Range<Int>
  let abbreviations: Range<Int>
  let addresses, ranges, rangeLists, stringOffsets: Range<Int>?
  let strings: LineStrings

  init?(_ image: ImageSections) {
    guard let info = image.range(named: ".debug_info"),
      let abbreviations = image.range(named: ".debug_abbrev")
    else { return nil }
    bytes = image.bytes
    self.info = info
    self.abbreviations = abbreviations
    addresses = image.range(named: ".debug_addr")
    ranges = image.range(named: ".debug_ranges")
    rangeLists = image.range(named: ".debug_rnglists")
    stringOffsets = image.range(named: ".debug_str_offsets")
    strings = LineStrings(image)
  }

  /// A reader of a section from `offset` on.
  func reader(_ section: Range<Int>?, at offset: UInt64?) -> ByteReader? {
    guard let section, let offset else { return nil }
    var reader = ByteReader(bytes, in: section)
    return reader.skip(offset) ? reader : nil
  }

  /// Number `index` of a table of `size`-byte words that starts at `base` of a section.
  func word(_ index: UInt64, size: Int, of section: Range<Int>?, base: UInt64?) -> UInt64? {
    let (distance, overflows) = index.multipliedReportingOverflow(by: UInt64(size))
    guard !overflows, var reader = reader(section, at: base), reader.skip(distance) else { return nil }
    return reader.word(size)
  }
}
