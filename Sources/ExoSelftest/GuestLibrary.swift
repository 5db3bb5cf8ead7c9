import Exo
import ExoGuests

/// The built-in guests as an image library: what a guest that makes processes finds in the frames that the variable
/// `EXO_IMAGES` names. Its form is told in the LibOS (`ImageLibrary`).
public enum GuestLibrary {
  public static let variable = "EXO_IMAGES"

  /// Those that are of no use by themselves.
  private static let parts = [("part", "GuestUnix"), ("true", "GuestUnix")]

  /// All images, each once.
  public static func bytes() throws(ImageError) -> [UInt8] {
    try bytes(of: GuestCatalogue.all.map { ($0.name, $0.target) } + parts)
  }

  private static let page = 4096
  private static let entrySize = 256
  private static let nameSize = 48
  private static let mostSegments = 6

  private static func bytes(of guests: [(name: String, target: String)]) throws(ImageError) -> [UInt8] {
    var entries: [(name: String, image: GuestImage, firsts: [Int])] = []
    var content: [UInt8] = []
    let present = guests.filter { ExoGuests.targets.contains($0.target) }
    let tablePages = (24 + present.count * entrySize + page - 1) / page
    for target in Set(present.map { $0.target }).sorted() {
      guard let bytes = ExoGuests.image(target) else { continue }
      let image = try GuestImage(name: target, bytes: bytes)
      guard image.segments.count <= mostSegments else { continue }
      var firsts: [Int] = []
      for segment in image.segments {
        firsts.append(tablePages + content.count / page)
        for index in 0..<given(segment) {
          let (offset, file) = segment.content(ofPage: index)
          var bytes = [UInt8](repeating: 0, count: page)
          bytes.replaceSubrange(offset..<offset + file.count, with: image.bytes[file])
          content += bytes
        }
      }
      for guest in present where guest.target == target { entries.append((guest.name, image, firsts)) }
    }
    var table = words([0x4558_4f49_4d41_4745, UInt64(entries.count), UInt64(tablePages)])
    for entry in entries {
      var bytes = Array(entry.name.utf8.prefix(nameSize - 1))
      bytes += [UInt8](repeating: 0, count: nameSize - bytes.count)
      bytes += words([entry.image.entry.value, UInt64(entry.image.segments.count)])
      for (segment, first) in zip(entry.image.segments, entry.firsts) {
        bytes += words([
          segment.address.value, UInt64(segment.pageCount) | UInt64(segment.rights.rawValue) << 32,
          UInt64(first) | UInt64(given(segment)) << 32,
        ])
      }
      table += bytes + [UInt8](repeating: 0, count: entrySize - bytes.count)
    }
    return table + [UInt8](repeating: 0, count: tablePages * page - table.count) + content
  }

  /// Pages that the library holds of a segment: all that cannot be written, as far as the file reaches of the others.
  private static func given(_ segment: GuestImage.Segment) -> Int {
    guard segment.rights.contains(.write) else { return segment.pageCount }
    return min((segment.contentOffset + segment.fileRange.count + page - 1) / page, segment.pageCount)
  }

  private static func words(_ words: [UInt64]) -> [UInt8] {
    words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (UInt64($0) * 8)) } }
  }
}
