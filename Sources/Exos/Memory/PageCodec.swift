/// Compresses pages in memory: each word of 32 bits is zero, the same as one seen lately, like one seen lately but for its
/// low 10 bits, or itself (WKdm: Wilson, Kaplan and Smaragdakis, The Case for Compressed Caching in Virtual Memory
/// Systems, USENIX 1999).
///
/// A compressed page is 256 bytes of 2-bit tags, one for each word in order, and then what each tag wants: nothing, a byte
/// with the place in the dictionary, two bytes with the place and the low bits, or the word.
public enum PageCodec {
  static var words: Int { 1024 }
  static var tagBytes: Int { words / 4 }
  /// Most bytes that a page may become; one that would be longer is better kept as it is.
  public static var limit: Int { 4096 }

  private static func place(_ word: UInt32) -> Int { Int((word >> 10 &* 0x9e37_79b1) >> 28) }

  /// Writes a page in short form and says how long that is; nil if it is no shorter.
  /// - Parameters:
  ///   - page: 4,096 bytes.
  ///   - out: `limit` bytes.
  public static func compress(_ page: UnsafeRawPointer, into out: UnsafeMutableRawPointer) -> Int? {
    var dictionary = InlineArray<16, UInt32>(repeating: 0)
    var length = tagBytes
    var tags: UInt8 = 0
    for index in 0..<words {
      let word = page.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
      let place = place(word)
      let tag: UInt8
      if word == 0 {
        tag = 0
      } else if dictionary[place] == word {
        tag = 1
        guard length + 1 <= limit else { return nil }
        out.storeBytes(of: UInt8(place), toByteOffset: length, as: UInt8.self)
        length += 1
      } else if dictionary[place] >> 10 == word >> 10 {
        tag = 2
        guard length + 2 <= limit else { return nil }
        let short = UInt16(place) << 10 | UInt16(truncatingIfNeeded: word & 1023)
        out.storeBytes(of: short, toByteOffset: length, as: UInt16.self)
        length += 2
      } else {
        tag = 3
        guard length + 4 <= limit else { return nil }
        out.storeBytes(of: word, toByteOffset: length, as: UInt32.self)
        length += 4
      }
      if word != 0 { dictionary[place] = word }
      tags |= tag << UInt8(2 * (index & 3))
      if index & 3 == 3 {
        out.storeBytes(of: tags, toByteOffset: index / 4, as: UInt8.self)
        tags = 0
      }
    }
    return length < limit ? length : nil
  }

  /// The page that was compressed; false if it was none.
  public static func expand(_ bytes: UnsafeRawPointer, count: Int, into page: UnsafeMutableRawPointer) -> Bool
  {
    guard count >= tagBytes else { return false }
    var dictionary = InlineArray<16, UInt32>(repeating: 0)
    var at = tagBytes
    for index in 0..<words {
      let tag = bytes.load(fromByteOffset: index / 4, as: UInt8.self) >> UInt8(2 * (index & 3)) & 3
      let size = tag == 3 ? 4 : Int(tag)
      guard count - at >= size else { return false }
      let word: UInt32
      switch tag {
      case 0: word = 0
      case 1: word = dictionary[Int(bytes.load(fromByteOffset: at, as: UInt8.self) & 15)]
      case 2:
        let short = bytes.loadUnaligned(fromByteOffset: at, as: UInt16.self)
        word = dictionary[Int(short >> 10 & 15)] & ~1023 | UInt32(short & 1023)
      default: word = bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)
      }
      at += size
      if word != 0 { dictionary[place(word)] = word }
      page.storeBytes(of: word, toByteOffset: 4 * index, as: UInt32.self)
    }
    return at == count
  }
}

/// Keeps pages compressed in this environment's own heap. Pages of zeros take up nothing.
public final class CompressedStore: PageStore {
  private var kept: [[UInt8]?]
  private let budget: Int
  /// Bytes in use.
  public private(set) var size = 0
  private var scratch = [UInt8](repeating: 0, count: PageCodec.limit)

  /// - Parameters:
  ///   - pages: of the region.
  ///   - budget: most bytes to use.
  public init(pages: Int, budget: Int = .max) {
    kept = Array(repeating: nil, count: pages)
    self.budget = budget
  }

  public func save(_ page: Int, from contents: UnsafeRawPointer) throws(PageStoreError) {
    let length = scratch.withUnsafeMutableBytes {
      PageCodec.compress(contents, into: $0.baseAddress.unsafelyUnwrapped)
    }
    let bytes: [UInt8]
    if let length {
      bytes = length == PageCodec.tagBytes ? [] : Array(scratch[..<length])
    } else {
      bytes = Array(UnsafeRawBufferPointer(start: contents, count: 4096))
    }
    let before = kept[page]?.count ?? 0
    guard bytes.count - before <= budget - size else { throw .full }
    size += bytes.count - before
    kept[page] = bytes
  }

  public func load(_ page: Int, into contents: UnsafeMutableRawPointer) throws(PageStoreError) {
    guard let bytes = kept[page] else { throw .lost }
    let isWhole = bytes.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress, bytes.count > 0 else {
        contents.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
        return true
      }
      if bytes.count < 4096 { return PageCodec.expand(start, count: bytes.count, into: contents) }
      contents.copyMemory(from: start, byteCount: 4096)
      return true
    }
    guard isWhole else { throw .lost }
    size -= bytes.count
    kept[page] = nil
  }
}
