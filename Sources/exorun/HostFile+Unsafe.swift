import Glibc

/// Why a file could not be used.
enum HostFileError: Error, CustomStringConvertible {
  case absent
  case directory
  case special
  case tooLarge(bytes: Int, limit: Int)
  case refused(errno: Int32)

  var description: String {
    switch self {
    case .absent: "no such file"
    case .directory: "a directory, not an image"
    case .special: "not a regular file"
    case .tooLarge(let bytes, let limit): "\(bytes) bytes, above the limit of \(limit)"
    case .refused(let code): errorText(code)
    }
  }
}

/// A file of the host.
struct HostFile: ~Copyable {
  private let descriptor: Int32
  deinit { _ = Glibc.close(descriptor) }

  /// Opens a regular file for reading. Never waits, as a named pipe would.
  init(reading path: String) throws(HostFileError) {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else {
      throw errno == ENOENT || errno == ENOTDIR ? .absent : .refused(errno: errno)
    }
    self.descriptor = descriptor
  }

  /// Opens a file to be written from its start; made if absent.
  init(writing path: String) throws(HostFileError) {
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0o666)
    guard descriptor >= 0 else { throw .refused(errno: errno) }
    self.descriptor = descriptor
  }

  /// All of a regular file.
  func contents(limit: Int) throws(HostFileError) -> [UInt8] {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw .refused(errno: errno) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw .directory
    default: throw .special
    }
    guard Int(status.st_size) <= limit else { throw .tooLarge(bytes: Int(status.st_size), limit: limit) }
    var failure: Int32 = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: Int(status.st_size)) { buffer, count in
      while count < buffer.count {
        // Reads into the part of the buffer past what is initialised.
        let got = unsafe read(descriptor, buffer.baseAddress! + count, buffer.count - count)
        if got == 0 { return }
        if got < 0 {
          if errno == EINTR { continue }
          failure = errno
          return
        }
        count += got
      }
    }
    guard failure == 0 else { throw .refused(errno: failure) }
    return bytes
  }

  func write(_ text: String) throws(HostFileError) { try write(Array(text.utf8)) }

  func write(_ bytes: [UInt8]) throws(HostFileError) {
    let code = StandardStreams.write(bytes, to: descriptor)
    guard code == 0 else { throw .refused(errno: code) }
  }

  static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

  /// A small file of /proc or /sys, whose size is not known before it is read.
  static func text(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 65536)
    let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
    return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
  }
}
