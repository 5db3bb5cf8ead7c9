import LibOS

/// Images of guests, in memory that is read and never written, so that environments can be made of them. exorun puts one there for
/// guests that make processes; the variable EXO_IMAGES says where: `HANDLE:PAGES`.
///
///     page 0 on   magic, count, pages of this table; then an entry of 256 bytes for each guest
///     entry       name (48 bytes, NUL-ended), entry point, number of segments, then for each of up to 6:
///                 address, pages | rights << 32, first page in the library | pages that it gives << 32
///     after it    the contents, whole pages
///
/// A segment that cannot be written is mapped as it lies here, by all processes; of the others each gets a copy.
public struct ImageLibrary: Sendable {
  static var magic: UInt64 { 0x4558_4f49_4d41_4745 }
  static var entrySize: Int { 256 }
  static var nameSize: Int { 48 }
  static var mostSegments: Int { 6 }
  static var mostGuests: Int { 512 }

  public struct Segment: Equatable, Sendable {
    public var address: UInt64
    public var pages: UInt64
    public var rights: Rights
    /// Within the library.
    public var first: UInt64
    public var given: UInt64
  }
  public struct Image: Sendable {
    public var entry: UInt64
    public var segments: [Segment]
  }

  let base: UInt64
  let pages: UInt64

  /// Nil for memory that holds no library. Made for what exorun wrote; yet a number that leads outside is refused.
  public init?(at base: UInt64, pages: UInt64) {
    self.base = base
    self.pages = pages
    guard pages > 0, word(0) == Self.magic, word(8) <= UInt64(Self.mostGuests),
      24 + word(8) * UInt64(Self.entrySize) <= pages << 12
    else { return nil }
  }

  public var names: [String] {
    (0..<Int(word(8))).map {
      String(cString: UnsafePointer<CChar>(bitPattern: UInt(entry($0))).unsafelyUnwrapped)
    }
  }

  /// The image of a guest, checked.
  public func image(named name: String) -> Image? {
    for index in 0..<Int(word(8)) {
      let at = entry(index)
      guard String(cString: UnsafePointer<CChar>(bitPattern: UInt(at)).unsafelyUnwrapped) == name else {
        continue
      }
      let words = UnsafePointer<UInt64>(bitPattern: UInt(at) + UInt(Self.nameSize)).unsafelyUnwrapped
      guard words[1] <= UInt64(Self.mostSegments) else { return nil }
      var segments: [Segment] = []
      for number in 0..<Int(words[1]) {
        let segment = Segment(
          address: words[2 + number * 3], pages: words[3 + number * 3] & 0xffff_ffff,
          rights: Rights(rawValue: words[3 + number * 3] >> 32), first: words[4 + number * 3] & 0xffff_ffff,
          given: words[4 + number * 3] >> 32)
        guard segment.first + segment.given <= pages, segment.given <= segment.pages else { return nil }
        segments.append(segment)
      }
      return Image(entry: words[0], segments: segments)
    }
    return nil
  }

  private func word(_ offset: UInt64) -> UInt64 {
    UnsafePointer<UInt64>(bitPattern: UInt(base + offset)).unsafelyUnwrapped.pointee
  }
  private func entry(_ index: Int) -> UInt64 { base + 24 + UInt64(index * Self.entrySize) }
}
