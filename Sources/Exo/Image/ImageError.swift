/// Why bytes are not an image that an environment can run. Each description is one line without the image's name.
public enum ImageError: Error, Hashable, Sendable, CustomStringConvertible {
  case empty
  case script(line: String)
  case notELF
  case truncated(size: Int, needed: Int)
  case not64Bit(class: UInt8)
  case notLittleEndian(encoding: UInt8)
  case unknownVersion(UInt32)
  case foreignMachine(UInt16)
  case notExecutable(type: UInt16)
  case interpreter(path: String)
  case dynamicLibraries(count: Int)
  case headerEntrySize(UInt16)
  case tooManyHeaders(count: Int, limit: Int)
  case headersOutsideFile(offset: UInt64, size: Int, file: Int)
  case dataOutsideFile(header: Int, offset: UInt64, size: UInt64, file: Int)
  case fileExceedsMemory(header: Int, fileSize: UInt64, memorySize: UInt64)
  case misaligned(header: Int, offset: UInt64, address: UInt64)
  case outsideUserHalf(header: Int, address: UInt64, size: UInt64, allowed: Range<UInt64>)
  case tooLarge(size: UInt64, limit: UInt64)
  case noRights(header: Int)
  case writableCode(header: Int, address: UInt64)
  case overlap(header: Int, other: Int, page: UInt64)
  case noSegments
  case entryNotExecutable(entry: UInt64)
  case noABINote
  case abiMismatch(image: UInt32, expected: UInt32)

  public var description: String {
    switch self {
    case .empty: "an empty file"
    case .script(let line): "a script (\(line)), not an ELF image"
    case .notELF: "not an ELF image"
    case .truncated(let size, let needed): "truncated: \(size) bytes, of which an ELF header is \(needed)"
    case .not64Bit(let kind): kind == 1 ? "a 32-bit image; guests are 64-bit" : "unknown ELF class \(kind)"
    case .notLittleEndian(let encoding):
      encoding == 2 ? "a big-endian image; guests are little-endian" : "unknown ELF byte order \(encoding)"
    case .unknownVersion(let version): "unknown ELF version \(version)"
    case .foreignMachine(let number): "made for \(Self.machine(number)); guests are x86-64"
    case .notExecutable(let type): "\(Self.kind(type)); guests are static executables at a fixed address"
    case .interpreter(let path): "dynamically linked (asks for \(printable(path))); guests are linked static"
    case .dynamicLibraries(let count): "needs \(count) shared libraries; guests are linked static"
    case .headerEntrySize(let size): "program headers of \(size) bytes, not 56"
    case .tooManyHeaders(let count, let limit): "\(count) program headers, above the limit of \(limit)"
    case .headersOutsideFile(let offset, let size, let file):
      "program headers at \(offset), \(size) bytes, lie outside the file of \(file) bytes"
    case .dataOutsideFile(let header, let offset, let size, let file):
      "program header \(header): data at \(offset), \(size) bytes, lies outside the file of \(file) bytes"
    case .fileExceedsMemory(let header, let fileSize, let memorySize):
      "program header \(header): \(fileSize) bytes in the file for \(memorySize) bytes of memory"
    case .misaligned(let header, let offset, let address):
      "program header \(header): file offset \(hexadecimal(offset)) and address \(hexadecimal(address))"
        + " differ within a page"
    case .outsideUserHalf(let header, let address, let size, let allowed):
      "program header \(header): \(size) bytes at \(hexadecimal(address)) leave the range"
        + " \(hexadecimal(allowed.lowerBound))..<\(hexadecimal(allowed.upperBound)) open to images"
    case .tooLarge(let size, let limit): "takes \(size) bytes of memory, above the limit of \(limit)"
    case .noRights(let header): "program header \(header): memory that may not be accessed at all"
    case .writableCode(let header, let address):
      "program header \(header): memory at \(hexadecimal(address)) both writable and executable"
    case .overlap(let header, let other, let page):
      "program headers \(header) and \(other) share the page at \(hexadecimal(page))"
    case .noSegments: "nothing to load"
    case .entryNotExecutable(let entry): "entry \(hexadecimal(entry)) lies in no executable segment"
    case .noABINote: "no ABI note: not built for Exo"
    case .abiMismatch(let image, let expected):
      "built for ABI version \(image); this exokernel speaks version \(expected)"
    }
  }

  /// What a machine number of the ELF header stands for.
  private static func machine(_ number: UInt16) -> String {
    switch number {
    case 2, 18, 43: "SPARC"
    case 3: "x86 (32-bit)"
    case 8: "MIPS"
    case 20, 21: "PowerPC"
    case 22: "S/390"
    case 40: "ARM (32-bit)"
    case 50: "Itanium"
    case 183: "ARM (64-bit)"
    case 243: "RISC-V"
    case 247: "BPF"
    case 258: "LoongArch"
    default: "machine number \(number)"
    }
  }

  private static func kind(_ type: UInt16) -> String {
    switch type {
    case 1: "a relocatable object file"
    case 3: "a position-independent executable or shared library"
    case 4: "a core dump"
    default: "ELF type \(type)"
    }
  }
}
