import ExoABI

/// A program for an environment: a static ELF executable that has passed every check, so that loading it can
/// fail for want of memory only. Nothing in `bytes` needs to be looked at again to load it.
public struct GuestImage: Sendable {
  /// The image's name in reports.
  public let name: String
  public let bytes: [UInt8]
  /// The first instruction; within an executable segment.
  public let entry: GuestAddress
  /// By rising address, one at least, no two in one page, none both writable and executable.
  public let segments: [Segment]
  /// The ABI version that the image's note names: `EXO_ABI_VERSION`.
  public let abiVersion: UInt32

  /// The first page-aligned address past the last segment.
  public var end: GuestAddress { segments[segments.count - 1].end }

  /// Program headers an image may have; lld makes about six.
  static let headerLimit = 64
  /// Bytes of memory all segments together may take.
  static let sizeLimit: UInt64 = 1 << 30
  /// Where segments may lie: above the pages that are never mapped, below the window on the page tables, which is below
  /// the first stack.
  static let allowed: Range<UInt64> = UInt64(EXO_USER_FLOOR)..<exo_kit_tables

  /// Checks `bytes` and finds what to load.
  public init(name: String, bytes: [UInt8]) throws(ImageError) {
    let header = try ImageHeader(bytes)
    let programHeaders = try header.programHeaders(in: bytes)
    try Self.refuseDynamic(programHeaders, in: bytes)
    let segments = try Self.loadable(programHeaders, fileSize: bytes.count)

    guard segments.contains(where: { $0.rights.contains(.execute) && $0.contains(header.entry) }) else {
      throw .entryNotExecutable(entry: header.entry.value)
    }

    self.name = name
    self.bytes = bytes
    self.entry = header.entry
    self.segments = segments
    abiVersion = try Self.abiVersion(programHeaders, in: bytes)
  }

  /// An image that wants a dynamic linker would start and then call through empty tables.
  private static func refuseDynamic(_ headers: [ProgramHeader], in bytes: [UInt8]) throws(ImageError) {
    for header in headers {
      switch header.type {
      case .interpreter:
        var reader = ByteReader(bytes, in: try header.fileRange(fileSize: bytes.count))
        throw .interpreter(path: reader.string() ?? "an unnamed interpreter")
      case .dynamic:
        var reader = ByteReader(bytes, in: try header.fileRange(fileSize: bytes.count))
        var needed = 0
        while let tag = reader.u64(), reader.u64() != nil, tag != 0 { needed += tag == 1 ? 1 : 0 }
        if needed > 0 { throw .dynamicLibraries(count: needed) }
      default: continue
      }
    }
  }

  private static func loadable(_ headers: [ProgramHeader], fileSize: Int) throws(ImageError) -> [Segment] {
    var segments: [Segment] = []
    var total: UInt64 = 0
    for header in headers where header.type == .load {
      guard let segment = try Segment(header, fileSize: fileSize) else { continue }
      // Each segment is below 2^47 bytes and there are few: the sum fits.
      total += UInt64(segment.pageCount) * UInt64(EXO_PAGE_SIZE)
      guard total <= sizeLimit else { throw .tooLarge(size: total, limit: sizeLimit) }
      segments.append(segment)
    }
    guard !segments.isEmpty else { throw .noSegments }

    segments.sort { $0.address < $1.address }
    // Two segments in one page would have to mix their rights.
    for (lower, upper) in zip(segments, segments.dropFirst()) where upper.address < lower.end {
      throw .overlap(header: lower.header, other: upper.header, page: upper.address.value)
    }
    return segments
  }

  /// The version all ABI notes name. An image linked from parts of two versions has two notes.
  private static func abiVersion(_ headers: [ProgramHeader], in bytes: [UInt8]) throws(ImageError) -> UInt32 {
    let expected = UInt32(EXO_ABI_VERSION)
    var found = false
    for header in headers where header.type == .note {
      let range = try header.fileRange(fileSize: bytes.count)
      var notes = ImageNotes(ByteReader(bytes, in: range), alignment: header.alignment == 8 ? 8 : 4)
      while let note = notes.next() {
        guard note.name == EXO_NOTE_NAME, note.type == UInt32(EXO_NOTE_ABI) else { continue }
        var content = note.content
        guard let version = content.u32(), content.isAtEnd else { continue }
        guard version == expected else { throw .abiMismatch(image: version, expected: expected) }
        found = true
      }
    }
    guard found else { throw .noABINote }
    return expected
  }
}
