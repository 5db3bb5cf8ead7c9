/// The guest images that exorun carries with it.
public enum ExoGuests {
  /// The ELF image of a guest target, by the target's name; nil if there is none.
  public static func image(_ target: String) -> [UInt8]? {
    stagedImages.first { $0.name.description == target }.map { decode($0.base64) }
  }

  /// Every staged target, in the order of the package.
  public static var targets: [String] { stagedImages.map(\.name.description) }

  /// Base64 of the standard alphabet without line breaks, as `base64 -w0` writes it.
  private static func decode(_ text: StaticString) -> [UInt8] {
    let source = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    let padding = source.reversed().prefix(2).count { $0 == UInt8(ascii: "=") }
    let size = source.count / 4 * 3 - padding
    return [UInt8](unsafeUninitializedCapacity: size + 3) { bytes, count in
      var out = 0
      for group in stride(from: 0, to: source.count - 3, by: 4) {
        var word: UInt32 = 0
        for i in 0..<4 { word = word << 6 | UInt32(alphabet[Int(source[group + i])]) }
        bytes[out] = UInt8(truncatingIfNeeded: word >> 16)
        bytes[out + 1] = UInt8(truncatingIfNeeded: word >> 8)
        bytes[out + 2] = UInt8(truncatingIfNeeded: word)
        out += 3
      }
      count = size
    }
  }

  private static let alphabet: [UInt8] = {
    var table = [UInt8](repeating: 0, count: 256)
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for (value, letter) in letters.utf8.enumerated() { table[Int(letter)] = UInt8(value) }
    return table
  }()
}
