import Glibc

/// Where results go, `-` for standard output: a file is opened before they are there.
struct ResultFile {
  private final class OpenFile {
    let file: HostFile
    init(_ path: String) throws(HostFileError) { file = try HostFile(writing: path) }
  }
  private let path: String
  /// Nil for standard output.
  private let open: OpenFile?

  init(_ path: String) throws(Failure) {
    self.path = path
    do throws(HostFileError) { open = path == "-" ? nil : try OpenFile(path) } catch {
      throw Failure(.usage, "\(path): cannot be written: \(error)")
    }
  }

  var isStandardOutput: Bool { open == nil }

  func write(_ text: String) throws(Failure) {
    guard let open else { return StandardStreams.write(text) }
    do throws(HostFileError) { try open.file.write(text) } catch {
      throw Failure(.usage, "\(path): cannot be written: \(error)")
    }
  }
}
