/// The ELF header, of which only what a static x86-64 executable may vary is kept.
/// Layout: System V ABI, "Object Files"; constants in its x86-64 supplement.
struct ImageHeader {
  static let size = 64

  let entry: GuestAddress
  let programOffset: UInt64
  let programEntrySize: UInt16
  let programCount: Int

  /// Decodes the header; refuses everything that is not a static x86-64 executable.
  init(_ bytes: [UInt8]) throws(ImageError) {
    guard !bytes.isEmpty else { throw .empty }
    if bytes.starts(with: [0x23, 0x21]) { throw .script(line: Self.firstLine(bytes)) }
    let magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]
    let start = bytes.prefix(magic.count)
    guard start.elementsEqual(magic.prefix(start.count)) else { throw .notELF }

    let tooShort = ImageError.truncated(size: bytes.count, needed: Self.size)
    guard bytes.count >= Self.size else { throw tooShort }
    var reader = ByteReader(bytes, in: 4..<Self.size)
    guard let kind = reader.u8(), let encoding = reader.u8(), let identVersion = reader.u8(),
      reader.skip(9), let type = reader.u16(), let machine = reader.u16(), let version = reader.u32(),
      let entry = reader.u64(), let programOffset = reader.u64(),
      reader.skip(8 + 4 + 2),  // sections, flags and this header's size
      let programEntrySize = reader.u16(), let programCount = reader.u16()
    else { throw tooShort }

    guard kind == 2 else { throw .not64Bit(class: kind) }
    guard encoding == 1 else { throw .notLittleEndian(encoding: encoding) }
    guard identVersion == 1 else { throw .unknownVersion(UInt32(identVersion)) }
    guard machine == 62 else { throw .foreignMachine(machine) }
    guard version == 1 else { throw .unknownVersion(version) }
    guard type == 2 else { throw .notExecutable(type: type) }

    self.entry = GuestAddress(entry)
    self.programOffset = programOffset
    self.programEntrySize = programEntrySize
    self.programCount = Int(programCount)
  }

  func programHeaders(in bytes: [UInt8]) throws(ImageError) -> [ProgramHeader] {
    guard programCount > 0 else { throw .noSegments }
    guard Int(programEntrySize) == ProgramHeader.size else { throw .headerEntrySize(programEntrySize) }
    guard programCount <= GuestImage.headerLimit else {
      throw .tooManyHeaders(count: programCount, limit: GuestImage.headerLimit)
    }
    let size = programCount * ProgramHeader.size
    let outside = ImageError.headersOutsideFile(offset: programOffset, size: size, file: bytes.count)
    guard let start = Int(exactly: programOffset), start <= bytes.count, size <= bytes.count - start else {
      throw outside
    }

    var reader = ByteReader(bytes, in: start..<(start + size))
    var headers: [ProgramHeader] = []
    for index in 0..<programCount {
      guard let header = ProgramHeader(index: index, &reader) else { throw outside }
      headers.append(header)
    }
    return headers
  }

  /// The first line of a script, cut short and without control characters: it ends up in a report.
  private static func firstLine(_ bytes: [UInt8]) -> String {
    let line = bytes.prefix(64).prefix { $0 >= 0x20 && $0 != 0x7f }
    return String(decoding: line, as: UTF8.self)
  }
}

/// One entry of the program header table, as it is in the file.
struct ProgramHeader {
  static let size = 56

  enum Kind { case load, dynamic, interpreter, note, other }

  /// Its number in the table.
  let index: Int
  let type: Kind
  let rights: Rights
  let offset: UInt64
  let address: UInt64
  let fileSize: UInt64
  let memorySize: UInt64
  let alignment: UInt64

  init?(index: Int, _ reader: inout ByteReader) {
    guard let type = reader.u32(), let flags = reader.u32(), let offset = reader.u64(),
      let address = reader.u64(), reader.skip(8),  // the physical address
      let fileSize = reader.u64(), let memorySize = reader.u64(), let alignment = reader.u64()
    else { return nil }
    self.index = index
    self.type =
      switch type {
      case 1: .load
      case 2: .dynamic
      case 3: .interpreter
      case 4: .note
      default: .other
      }
    var rights: Rights = []
    if flags & 4 != 0 { rights.insert(.read) }
    if flags & 2 != 0 { rights.insert(.write) }
    if flags & 1 != 0 { rights.insert(.execute) }
    self.rights = rights
    self.offset = offset
    self.address = address
    self.fileSize = fileSize
    self.memorySize = memorySize
    self.alignment = alignment
  }

  /// The bytes of the file it describes.
  func fileRange(fileSize total: Int) throws(ImageError) -> Range<Int> {
    guard let start = Int(exactly: offset), let size = Int(exactly: fileSize), start <= total,
      size <= total - start
    else { throw .dataOutsideFile(header: index, offset: offset, size: fileSize, file: total) }
    return start..<(start + size)
  }
}
