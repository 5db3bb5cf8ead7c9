import ExoABI

@testable import Exo

/// Writes small ELF images for tests, each field free to be wrong.
struct ImageBuilder {
  struct Header {
    var type: UInt32 = 1
    var flags: UInt32 = 4
    var offset: UInt64 = 0
    var address: UInt64 = 0
    var fileSize: UInt64 = 0
    var memorySize: UInt64 = 0
    var alignment: UInt64 = 4096
  }

  var magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]
  var kind: UInt8 = 2
  var encoding: UInt8 = 1
  var type: UInt16 = 2
  var machine: UInt16 = 62
  var version: UInt32 = 1
  var entry: UInt64 = 0x401300
  var programOffset: UInt64 = 64
  var entrySize: UInt16 = 56
  var count: UInt16?
  /// Read-only with the note at 0x280, code, data with zeros after it; the layout lld gives guests.
  var headers: [Header] = [
    Header(flags: 4, offset: 0, address: 0x400000, fileSize: 0x300, memorySize: 0x300),
    Header(flags: 5, offset: 0x300, address: 0x401300, fileSize: 0x80, memorySize: 0x80),
    Header(flags: 6, offset: 0x380, address: 0x402380, fileSize: 0x80, memorySize: 0x3000),
    Header(type: 4, flags: 4, offset: 0x280, address: 0x400280, fileSize: 20, memorySize: 20, alignment: 4),
  ]
  var note: [UInt8] = abiNote(version: UInt32(EXO_ABI_VERSION))
  var size = 0x400

  static func abiNote(version: UInt32, name: String = EXO_NOTE_NAME, type: UInt32 = UInt32(EXO_NOTE_ABI))
    -> [UInt8]
  {
    var name = Array(name.utf8) + [0]
    let length = UInt32(name.count)
    while name.count % 4 != 0 { name.append(0) }
    return little(length) + little(4 as UInt32) + little(type) + name + little(version)
  }

  static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<(T.bitWidth / 8)).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
  }

  var bytes: [UInt8] {
    var file = magic + [kind, encoding, 1] + [UInt8](repeating: 0, count: 9)
    file += Self.little(type) + Self.little(machine) + Self.little(version) + Self.little(entry)
    file += Self.little(programOffset) + Self.little(0 as UInt64) + Self.little(0 as UInt32)
    file += Self.little(64 as UInt16) + Self.little(entrySize)
    file += Self.little(count ?? UInt16(headers.count)) + [UInt8](repeating: 0, count: 6)
    for header in headers {
      file += Self.little(header.type) + Self.little(header.flags) + Self.little(header.offset)
      file += Self.little(header.address) + Self.little(header.address)
      file += Self.little(header.fileSize) + Self.little(header.memorySize) + Self.little(header.alignment)
    }
    file += [UInt8](repeating: 0xcc, count: max(0, 0x280 - file.count))
    file += note
    file += [UInt8](repeating: 0xcc, count: max(0, size - file.count))
    return Array(file.prefix(size))
  }
}

extension ImageBuilder {
  struct Section {
    var name: UInt32 = 0
    var type: UInt32 = 1
    var flags: UInt64 = 0
    var address: UInt64 = 0
    /// Where it has no content.
    var size: UInt64 = 0
    var link: UInt32 = 0
    var content: [UInt8] = []
  }

  /// A file of sections alone; the last one holds their names.
  static func sections(_ sections: [Section]) -> [UInt8] {
    var file = [UInt8](repeating: 0, count: 64)
    var table: [UInt8] = []
    for section in sections {
      let size = section.content.isEmpty ? section.size : UInt64(section.content.count)
      table += little(section.name) + little(section.type) + little(section.flags) + little(section.address)
      table += little(UInt64(file.count)) + little(size) + little(section.link)
      table += [UInt8](repeating: 0, count: 20)
      file += section.content
    }
    file.replaceSubrange(40..<48, with: little(UInt64(file.count)))
    file.replaceSubrange(58..<60, with: little(64 as UInt16))
    file.replaceSubrange(60..<62, with: little(UInt16(sections.count)))
    file.replaceSubrange(62..<64, with: little(UInt16(sections.count - 1)))
    return file + table
  }
}

/// Splitmix64: the same mutants every time.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// Damages bytes the way files get damaged and attackers damage them.
struct Mutator {
  var random: SeededGenerator
  static let interesting: [UInt64] = [
    0, 1, 2, 7, 0x7f, 0x80, 0xff, 0xfff, 0x1000, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000, 0xffff_ffff_ffff_f000, 0xffff_ffff_ffff_ffff, 0x7fff_feff_f000, 0x400000,
  ]

  /// One to four changes to `original`, most of them within `target`.
  mutating func mutate(_ original: [UInt8], target: Range<Int>) -> [UInt8] {
    var bytes = original
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      guard !bytes.isEmpty else { break }
      let whole = Int.random(in: 0..<4, using: &random) == 0
      let range = (whole ? 0..<bytes.count : target).clamped(to: 0..<bytes.count)
      guard !range.isEmpty else { continue }
      let place = Int.random(in: range, using: &random)
      switch Int.random(in: 0..<8, using: &random) {
      case 0...2: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 3:
        let extreme: [UInt8] = [0, 1, 0x7f, 0x80, 0xff, UInt8.random(in: 0...255, using: &random)]
        bytes[place] = extreme[Int.random(in: 0..<extreme.count, using: &random)]
      case 4...6:
        let size = [2, 4, 8][Int.random(in: 0..<3, using: &random)]
        let start = place / size * size
        var value = Self.interesting[Int.random(in: 0..<Self.interesting.count, using: &random)]
        if Bool.random(using: &random) { value = value &+ UInt64.random(in: 0..<16, using: &random) &- 8 }
        for index in start..<min(start + size, bytes.count) {
          bytes[index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (index - start)))
        }
      default:
        if Int.random(in: 0..<4, using: &random) == 0 {
          bytes.removeSubrange(Int.random(in: 0..<bytes.count, using: &random)...)
        }
      }
    }
    return bytes
  }
}
