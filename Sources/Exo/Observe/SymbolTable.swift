/// The functions of an image by address, from its `.symtab`.
struct SymbolTable: Sendable {
  private struct Symbol {
    let start: UInt64
    /// Where the function ends by its own account; equal to `start` for a label of an assembly file.
    let end: UInt64
    /// How far a label may reach: to the end of its section or of the function it is in.
    var limit: UInt64
    let nameOffset: Int
    /// Functions before labels, global names before local ones.
    let rank: UInt8
  }

  private let bytes: [UInt8]
  private let names: Range<Int>
  /// By rising address, at equal addresses the best name last.
  private let symbols: [Symbol]

  init?(_ sections: ImageSections) {
    guard let table = sections.all.first(where: { $0.type == 2 }), let range = table.range,
      let link = Int(exactly: table.link), link < sections.all.count, let names = sections.all[link].range
    else { return nil }

    var symbols: [Symbol] = []
    var reader = ByteReader(sections.bytes, in: range)
    while let nameOffset = reader.u32(), let info = reader.u8(), reader.skip(1), let index = reader.u16(),
      let value = reader.u64(), let size = reader.u64()
    {
      let kind = info & 0xf
      guard kind == 0 || kind == 2, nameOffset != 0, Int(nameOffset) < names.count,
        Int(index) < sections.all.count
      else { continue }
      let section = sections.all[Int(index)]
      let (limit, sectionWraps) = section.address.addingReportingOverflow(section.size)
      let (end, wraps) = value.addingReportingOverflow(size)
      guard section.isExecutable, !sectionWraps, !wraps, value >= section.address, value < limit else {
        continue
      }
      let rank: UInt8 = (kind == 2 ? 2 : 0) + (info >> 4 != 0 ? 1 : 0)
      symbols.append(
        Symbol(start: value, end: min(end, limit), limit: limit, nameOffset: Int(nameOffset), rank: rank))
    }
    symbols.sort { ($0.start, $0.rank) < ($1.start, $1.rank) }
    var end: UInt64 = 0
    for index in symbols.indices {
      if symbols[index].start < end { symbols[index].limit = min(symbols[index].limit, end) }
      end = max(end, symbols[index].end)
    }

    bytes = sections.bytes
    self.names = names
    self.symbols = symbols
  }

  /// The function that contains `address`: its name as linked, and where it starts.
  func function(containing address: GuestAddress) -> (name: String, start: GuestAddress)? {
    // The first symbol past the address.
    var low = 0
    var high = symbols.count
    while low < high {
      let middle = (low + high) / 2
      if symbols[middle].start > address.value { high = middle } else { low = middle + 1 }
    }
    // A label reaches up to the next symbol. A function may hold labels and parts: a few steps back find it.
    guard low > 0 else { return nil }
    for symbol in symbols[max(0, low - 16)..<low].reversed() where address.value < symbol.end {
      return found(symbol)
    }
    let nearest = symbols[low - 1]
    return nearest.start == nearest.end && address.value < nearest.limit ? found(nearest) : nil
  }

  private func found(_ symbol: Symbol) -> (name: String, start: GuestAddress)? {
    var reader = ByteReader(bytes, in: (names.lowerBound + symbol.nameOffset)..<names.upperBound)
    return reader.string().map { ($0, GuestAddress(symbol.start)) }
  }
}
