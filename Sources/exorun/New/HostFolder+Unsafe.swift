import Glibc

/// Folders of the host.
enum HostFolder {
  /// The path of what exists, without links and dots.
  static func absolute(_ path: String) -> String? {
    // `realpath` allocates its result, which is the caller's.
    guard let text = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(text) }
    return unsafe String(cString: text)
  }

  /// Makes a folder, which must not be there.
  static func make(_ path: String) throws(HostFileError) {
    // The path is a C string for the length of the call.
    guard unsafe mkdir(path, 0o777) == 0 else { throw .refused(errno: errno) }
  }

  /// Takes away a file or an empty folder; nothing happens where that fails.
  static func remove(_ path: String) { _ = unsafe Glibc.remove(path) }
}
