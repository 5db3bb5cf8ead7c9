/// The notes of one note segment, in order; ends early at the first that is cut off.
/// Layout: System V ABI, "Note Section": three 32-bit words, then name and content, each padded.
struct ImageNotes {
  struct Note {
    let name: String
    let type: UInt32
    let content: ByteReader
  }

  private var reader: ByteReader
  private let alignment: UInt64

  init(_ reader: ByteReader, alignment: UInt64) {
    self.reader = reader
    self.alignment = alignment
  }

  mutating func next() -> Note? {
    guard let nameSize = reader.u32(), let contentSize = reader.u32(), let type = reader.u32(),
      var name = reader.slice(UInt64(nameSize))
    else { return nil }
    // The header is 12 bytes: padding counts from the note's start, not the name's.
    pad(after: 12 + UInt64(nameSize))
    guard let content = reader.slice(UInt64(contentSize)) else { return nil }
    pad(after: UInt64(contentSize))
    return Note(name: name.string() ?? "", type: type, content: content)
  }

  /// Missing padding at the end of the segment is no error.
  private mutating func pad(after size: UInt64) {
    _ = reader.skip(min((alignment - size % alignment) % alignment, UInt64(reader.remaining)))
  }
}
