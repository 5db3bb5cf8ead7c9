import Exo
import ExoSelftest

/// Where the word that names a guest leads.
enum GuestSource {
  /// Most bytes of an image file that are read at all.
  static let fileLimit = 1 << 30

  /// The image of a built-in guest, or of a file: a word with a `/` is a path, and so is one that no built-in guest
  /// has and a file does.
  static func image(_ word: String) throws(Failure) -> GuestImage {
    if !word.contains("/") {
      if let guest = GuestCatalogue.named(word) { return try builtIn(guest) }
      guard HostFile.exists(word) else {
        throw Failure(
          .noSuchGuest,
          "no guest is called `\(word)`: `exorun guests` lists those built in, a file is named by its path")
      }
    }
    let name = word.split(separator: "/").last.map(String.init) ?? word
    let bytes: [UInt8]
    do throws(HostFileError) {
      bytes = try HostFile(reading: word).contents(limit: fileLimit)
    } catch .absent {
      throw Failure(.noSuchGuest, "\(word): \(HostFileError.absent)")
    } catch {
      throw Failure(.notRunnable, "\(word): \(error)")
    }
    do throws(ImageError) { return try GuestImage(name: name, bytes: bytes) } catch {
      throw Failure(.notRunnable, "\(word): \(error)")
    }
  }

  private static func builtIn(_ guest: BuiltInGuest) throws(Failure) -> GuestImage {
    do throws(ImageError) {
      if let image = try guest.image() { return image }
    } catch {
      throw Failure(.notRunnable, "\(guest.name): \(error)")
    }
    throw Failure(.notRunnable, "\(guest.name): its image \(guest.target) was not built in")
  }
}
