import Glibc

/// Why a file could not be read or written.
enum FileError: Error, CustomStringConvertible {
  case cannotOpen(String, errno: Int32)
  case cannotRead(String, errno: Int32)
  case cannotWrite(String, errno: Int32)

  var description: String {
    switch self {
    case .cannotOpen(let path, let error): "\(path): cannot be opened: \(Self.text(error))."
    case .cannotRead(let path, let error): "\(path): cannot be read: \(Self.text(error))."
    case .cannotWrite(let path, let error): "\(path): cannot be written: \(Self.text(error))."
    }
  }
  private static func text(_ error: Int32) -> String { unsafe String(cString: strerror(error)) }
}

func readFile(_ path: String) throws(FileError) -> String {
  let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
  if file < 0 { throw .cannotOpen(path, errno: errno) }
  defer { close(file) }
  var bytes: [UInt8] = []
  var block = [UInt8](repeating: 0, count: 65536)
  while true {
    let count = unsafe read(file, &block, block.count)
    if count < 0 { throw .cannotRead(path, errno: errno) }
    if count == 0 { return String(decoding: bytes, as: UTF8.self) }
    bytes += block[..<count]
  }
}

/// Replaces a file's content; `-` is standard output.
func writeFile(_ path: String, _ text: String) throws(FileError) {
  let file =
    path == "-" ? dup(STDOUT_FILENO) : unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  if file < 0 { throw .cannotOpen(path, errno: errno) }
  defer { close(file) }
  var rest = Array(text.utf8)[...]
  while !rest.isEmpty {
    let count = unsafe rest.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
    if count < 0 { throw .cannotWrite(path, errno: errno) }
    rest = rest.dropFirst(count)
  }
}
