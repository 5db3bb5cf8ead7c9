/// The header of one unit of `.debug_line`, versions 2 to 5. Its tables of files are read only when a file is
/// asked for.
struct LineUnit: Sendable {
  /// Of the unit within the section: how debug information refers to it.
  let offset: UInt64
  let version: UInt16
  let offsetSize: Int
  let minimumLength: UInt8
  let lineBase: Int8
  /// Never 0.
  let lineRange: UInt8
  /// Never 0.
  let opcodeBase: UInt8
  /// For each instruction below `opcodeBase`, from 1.
  let argumentCounts: [UInt8]
  /// Bytes of the file: the directories and files, then the program.
  let tables: Range<Int>
  let program: Range<Int>

  init?(_ reader: ByteReader, offset: UInt64, offsetSize: Int) {
    var reader = reader
    guard let version = reader.u16(), (2...5).contains(version) else { return nil }
    // Address and segment selector sizes: 8 and none on this processor.
    if version >= 5 {
      guard reader.u8() == 8, reader.u8() == 0 else { return nil }
    }
    guard let headerLength = reader.word(offsetSize), var header = reader.slice(headerLength),
      let minimumLength = header.u8(), version < 4 || header.skip(1), header.skip(1),
      let lineBase = header.u8(), let lineRange = header.u8(), let opcodeBase = header.u8(), lineRange > 0,
      opcodeBase > 0
    else { return nil }
    var argumentCounts: [UInt8] = []
    for _ in 1..<Int(opcodeBase) {
      guard let count = header.u8() else { return nil }
      argumentCounts.append(count)
    }
    self.offset = offset
    self.version = version
    self.offsetSize = offsetSize
    self.minimumLength = minimumLength
    self.lineBase = Int8(bitPattern: lineBase)
    self.lineRange = lineRange
    self.opcodeBase = opcodeBase
    self.argumentCounts = argumentCounts
    tables = header.position..<header.end
    program = reader.position..<reader.end
  }

  /// The path of file `index`, as complete as the tables make it.
  func file(_ index: UInt64, in bytes: [UInt8], _ strings: LineStrings) -> String? {
    var reader = ByteReader(bytes, in: tables)
    return version >= 5 ? file5(index, &reader, strings) : file4(index, &reader)
  }

  // MARK: Versions 2 to 4: strings up to an empty one, counted from 1

  private func file4(_ index: UInt64, _ reader: inout ByteReader) -> String? {
    var directories: [Int] = []
    while true {
      let start = reader.position
      guard reader.skipString() else { return nil }
      if reader.position == start + 1 { break }
      directories.append(start)
    }
    var number: UInt64 = 1
    while number <= index {
      let start = reader.position
      guard let name = reader.stringIf(number == index), reader.position > start + 1,
        let directory = reader.uleb(), reader.uleb() != nil, reader.uleb() != nil
      else { return nil }
      if number == index {
        // Directory 0 is the compilation's own, which only the debug information names.
        guard directory > 0, let slot = Int(exactly: directory - 1), slot < directories.count else {
          return name
        }
        var text = ByteReader(reader.bytes, in: directories[slot]..<tables.upperBound)
        return join(text.string(), name)
      }
      number += 1
    }
    return nil
  }

  // MARK: Version 5: described fields, counted from 0

  private struct Entry {
    var path: LineText?
    var directory: UInt64 = 0
  }

  private func file5(_ index: UInt64, _ reader: inout ByteReader, _ strings: LineStrings) -> String? {
    guard let directories = entries(&reader, upTo: .max), let files = entries(&reader, upTo: index),
      let slot = Int(exactly: index), slot < files.count, let name = files[slot].path?.string(strings)
    else { return nil }
    guard let directory = Int(exactly: files[slot].directory), directory < directories.count else {
      return name
    }
    let path = join(directories[directory].path?.string(strings), name)
    return path.hasPrefix("/") || directory == 0 ? path : join(directories[0].path?.string(strings), path)
  }

  /// Reads a table, at least up to entry `last` if there is one.
  private func entries(_ reader: inout ByteReader, upTo last: UInt64) -> [Entry]? {
    guard let formatCount = reader.u8() else { return nil }
    var formats: [(content: UInt64, form: UInt64)] = []
    for _ in 0..<formatCount {
      guard let content = reader.uleb(), let form = reader.uleb() else { return nil }
      formats.append((content, form))
    }
    // Each form takes a byte at least, so that the count is bounded by the bytes; no form would take none.
    guard let count = reader.uleb(), count <= UInt64(reader.remaining), count == 0 || formatCount > 0 else {
      return nil
    }
    var entries: [Entry] = []
    while entries.count < count, entries.isEmpty || UInt64(entries.count) <= last {
      var entry = Entry()
      for (content, form) in formats {
        guard let value = reader.lineForm(form, offsetSize: offsetSize) else { return nil }
        switch (content, value) {
        case (1, .text(let text)): entry.path = text
        case (2, .number(let number)): entry.directory = number
        default: break
        }
      }
      entries.append(entry)
    }
    return entries
  }

  private func join(_ directory: String?, _ name: String) -> String {
    guard let directory, !directory.isEmpty, !name.hasPrefix("/") else { return name }
    return directory.hasSuffix("/") ? directory + name : directory + "/" + name
  }
}

/// Where a string lies; read only when it is wanted.
enum LineText: Sendable {
  case inline(Int)
  case lineString(UInt64)
  case string(UInt64)

  func string(_ strings: LineStrings) -> String? {
    switch self {
    case .inline(let position):
      var reader = ByteReader(strings.bytes, in: position..<max(position, strings.bytes.count))
      return reader.string()
    case .lineString(let offset): return strings.string(at: offset, in: strings.lines)
    case .string(let offset): return strings.string(at: offset, in: strings.strings)
    }
  }
}

enum LineValue {
  case text(LineText)
  case number(UInt64)
  case other
}

extension ByteReader {
  /// The next string if it is `wanted`, else an empty one; moves past it in both cases.
  fileprivate mutating func stringIf(_ wanted: Bool) -> String? {
    wanted ? string() : skipString() ? "" : nil
  }

  /// A value of one of the forms that the tables of a line unit use (DWARF 5, section 6.2.4.1).
  fileprivate mutating func lineForm(_ form: UInt64, offsetSize: Int) -> LineValue? {
    switch form {
    case 0x08:
      let start = position
      return skipString() ? .text(.inline(start)) : nil
    case 0x1f: return word(offsetSize).map { .text(.lineString($0)) }
    case 0x0e: return word(offsetSize).map { .text(.string($0)) }
    case 0x0b: return word(1).map { .number($0) }
    case 0x05: return word(2).map { .number($0) }
    case 0x06: return word(4).map { .number($0) }
    case 0x07: return word(8).map { .number($0) }
    case 0x0f: return uleb().map { .number($0) }
    case 0x1e: return skip(16) ? .other : nil
    case 0x09: return uleb().flatMap { skip($0) ? .other : nil }
    default: return nil
    }
  }
}
