import ExoABI
import Glibc

/// The smallest images that are one: an ELF header, a note with the ABI version, and instructions.
struct TinyImage {
  static let base: UInt64 = 0x400000
  private static let codeOffset = 0x100

  var bytes: [UInt8]

  /// - Parameter code: x86-64 instructions, entered with the start page's address in RDI.
  init(_ code: [UInt8]) {
    var bytes: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
    func put<T: FixedWidthInteger>(_ value: T) {
      for i in 0..<T.bitWidth / 8 { bytes.append(UInt8(truncatingIfNeeded: value >> T(i * 8))) }
    }
    // ET_EXEC, x86-64, version; entry, program headers at 64; no sections; sizes and counts.
    put(UInt16(2))
    put(UInt16(62))
    put(UInt32(1))
    put(Self.base + UInt64(Self.codeOffset))
    put(UInt64(64))
    put(UInt64(0))
    put(UInt32(0))
    put(UInt16(64))
    put(UInt16(56))
    put(UInt16(2))
    put(UInt16(0))
    put(UInt16(0))
    put(UInt16(0))
    func header(_ type: UInt32, _ flags: UInt32, offset: Int, address: UInt64, size: Int, align: UInt64) {
      put(type)
      put(flags)
      put(UInt64(offset))
      put(address)
      put(address)
      put(UInt64(size))
      put(UInt64(size))
      put(align)
    }
    header(1, 5, offset: 0, address: Self.base, size: Self.codeOffset + code.count, align: 4096)
    header(4, 4, offset: 176, address: Self.base + 176, size: 20, align: 4)
    put(UInt32(4))
    put(UInt32(4))
    put(UInt32(EXO_NOTE_ABI))
    bytes += Array(EXO_NOTE_NAME.utf8) + [0]
    put(UInt32(EXO_ABI_VERSION))
    bytes += [UInt8](repeating: 0, count: Self.codeOffset - bytes.count) + code
    self.bytes = bytes
  }

  /// Does nothing, for ever.
  static let spinning = TinyImage([0xeb, 0xfe])

  /// The image with bytes replaced from an offset on.
  func with(_ new: [UInt8], at offset: Int) -> TinyImage {
    var image = self
    image.bytes.replaceSubrange(offset..<offset + new.count, with: new)
    return image
  }

  /// Offsets into the image, for `with`.
  enum Field {
    static let kind = 4, order = 5, type = 16, machine = 18, entry = 24
    /// The segment's program header.
    static let segmentFlags = 64 + 4, segmentOffset = 64 + 8, segmentAddress = 64 + 16,
      segmentFileSize = 64 + 32,
      segmentMemorySize = 64 + 40
    /// The note's.
    static let noteType = 120, abiVersion = 176 + 16
  }
}

/// A directory for one test's files, gone with it.
final class Scratch {
  let path: String
  private var files: [String] = []

  init() {
    var template = Array("/tmp/exo-test-XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
  }
  deinit {
    for file in files { unlink(file) }
    rmdir(path)
  }

  /// A path within it, deleted at the end.
  func file(_ name: String) -> String {
    files.append("\(path)/\(name)")
    return "\(path)/\(name)"
  }
  func file(_ name: String, _ bytes: [UInt8]) -> String {
    let file = file(name)
    let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    _ = write(descriptor, bytes, bytes.count)
    close(descriptor)
    return file
  }
}
