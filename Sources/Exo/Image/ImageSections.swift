/// The section headers of an ELF image, for symbols and debug information only: nothing that is loaded depends
/// on them, so that whatever is wrong there only makes a report poorer.
struct ImageSections {
  struct Section {
    let nameOffset: UInt32
    let type: UInt32
    let isExecutable: Bool
    let address: UInt64
    let size: UInt64
    let link: UInt32
    /// Its bytes in the file; nil if it has none, is compressed, or lies outside the file.
    let range: Range<Int>?
  }

  /// Larger sections are not read: no guest has them, and reading all of one takes a while.
  static let sizeLimit = 64 << 20

  let bytes: [UInt8]
  let all: [Section]
  private let names: Range<Int>

  init?(_ bytes: [UInt8]) {
    var header = ByteReader(bytes)
    guard header.skip(40), let offset = header.u64(), header.skip(10), let entrySize = header.u16(),
      let count = header.u16(), let namesIndex = header.u16(), entrySize == 64,
      let start = Int(exactly: offset)
    else { return nil }

    guard start <= bytes.count else { return nil }
    var reader = ByteReader(bytes, in: start..<bytes.count)
    var sections: [Section] = []
    for _ in 0..<count {
      guard let section = Section(&reader, fileSize: bytes.count) else { break }
      sections.append(section)
    }
    guard Int(namesIndex) < sections.count, let names = sections[Int(namesIndex)].range else { return nil }
    self.bytes = bytes
    all = sections
    self.names = names
  }

  /// The bytes of the first section of that name.
  func range(named name: String) -> Range<Int>? {
    let wanted = Array(name.utf8) + [0]
    let section = all.first { section in
      guard let offset = Int(exactly: section.nameOffset), offset < names.count else { return false }
      return bytes[(names.lowerBound + offset)..<names.upperBound].starts(with: wanted)
    }
    return section?.range
  }
}

extension ImageSections.Section {
  init?(_ reader: inout ByteReader, fileSize: Int) {
    guard let nameOffset = reader.u32(), let type = reader.u32(), let flags = reader.u64(),
      let address = reader.u64(), let offset = reader.u64(), let size = reader.u64(), let link = reader.u32(),
      reader.skip(4 + 8 + 8)
    else { return nil }
    self.nameOffset = nameOffset
    self.type = type
    isExecutable = flags & 4 != 0
    self.address = address
    self.size = size
    self.link = link
    let hasNoBytes = type == 0 || type == 8
    let isCompressed = flags & 0x800 != 0
    if !hasNoBytes, !isCompressed, let start = Int(exactly: offset), let count = Int(exactly: size),
      start <= fileSize, count <= fileSize - start, count <= ImageSections.sizeLimit
    {
      range = start..<(start + count)
    } else {
      range = nil
    }
  }
}
