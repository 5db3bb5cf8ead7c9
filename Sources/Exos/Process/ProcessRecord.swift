import LibOS

/// What a new process is told by its maker: arguments, variables, where its input comes from and where its output goes, and the
/// capabilities it inherits. It lies at a fixed address in the process, read-only, and is bytes like any other: whoever reads it
/// trusts its maker, who could have written anything else into this memory too.
public struct ProcessRecord {
  /// Where it lies in the process, and most pages of it.
  public static var address: UInt64 { 0x6f00_0000_0000 }
  public static var mostPages: Int { 16 }
  static var magic: UInt64 { 0x4558_4f50_524f_4345 }

  /// A pipe's other end that is the maker's, who wakes this process and is not woken by it.
  public static var wakingPeer: UInt64 { .max }

  /// Where a stream of bytes leads.
  public enum Stream: Equatable, Sendable {
    /// The console: as an input it is at its end.
    case console
    /// A pipe in frames that are mapped at an address (`PipeFrames`), and what this process calls the other end's environment:
    /// 0 if it is not told.
    case pipe(address: UInt64, capacity: UInt64, peer: UInt64)
    /// A file of the tree, from its start, or for output also from its end on.
    case file(path: String, appends: Bool)
  }

  public var arguments: [String]
  /// Each as `name=value`.
  public var variables: [String] = []
  public var input = Stream.console
  public var output = Stream.console
  /// Where what it says of errors goes; nil: where the output goes, and in one order with it.
  public var errors: Stream?
  /// Address and bytes of the file tree, if it has one.
  public var files = (address: UInt64(0), size: UInt64(0))
  /// Handles in the process's table, by name.
  public var capabilities: [(name: String, handle: UInt64)] = []
  /// Whether signals end it that it does not handle.
  public var takesSignals = false

  public init(arguments: [String]) { self.arguments = arguments }

  // Words of the header.
  private enum Word {
    static let magic = 0, arguments = 1, argumentTable = 2, variables = 3, variableTable = 4, files = 5,
      filesSize = 6
    static let signals = 7, capabilities = 8, capabilityTable = 9, input = 10, output = 14, errors = 18,
      count = 22
  }

  /// The bytes, for the address where they will lie; nil if they are too many or a string has a NUL in it.
  public func encoded(at base: UInt64 = address) -> [UInt8]? {
    var words = [UInt64](repeating: 0, count: Word.count)
    var text: [UInt8] = []
    let paths = [Self.path(input), Self.path(output), errors.flatMap { Self.path($0) }]
    let strings = arguments + variables + capabilities.map { $0.name } + paths.map { $0 ?? "" }
    let tables = strings.count + capabilities.count
    let textStart = UInt64((Word.count + tables) * 8)
    var addresses: [UInt64] = []
    for string in strings {
      addresses.append(base + textStart + UInt64(text.count))
      for byte in string.utf8 {
        if byte == 0 { return nil }
        text.append(byte)
      }
      text.append(0)
    }
    let tableStart = base + UInt64(Word.count * 8)
    words[Word.magic] = Self.magic
    words[Word.arguments] = UInt64(arguments.count)
    words[Word.argumentTable] = tableStart
    words[Word.variables] = UInt64(variables.count)
    words[Word.variableTable] = tableStart + UInt64(arguments.count * 8)
    words[Word.files] = files.address
    words[Word.filesSize] = files.size
    words[Word.signals] = takesSignals ? 1 : 0
    words[Word.capabilities] = UInt64(capabilities.count)
    words[Word.capabilityTable] = tableStart + UInt64((arguments.count + variables.count) * 8)
    let path = strings.count - Self.pathCount
    Self.put(input, &words, Word.input, addresses[path])
    Self.put(output, &words, Word.output, addresses[path + 1])
    if let errors {
      Self.put(errors, &words, Word.errors, addresses[path + 2])
    } else {
      words[Word.errors] = 3
    }
    words += addresses
    for capability in capabilities { words.append(capability.handle) }
    var bytes: [UInt8] = []
    for word in words {
      for shift in [0, 8, 16, 24, 32, 40, 48, 56] as [UInt64] {
        bytes.append(UInt8(truncatingIfNeeded: word >> shift))
      }
    }
    bytes += text
    return bytes.count <= Self.mostPages << 12 ? bytes : nil
  }

  /// Each stream may have one: they are the last of the strings.
  private static var pathCount: Int { 3 }
  private static func path(_ stream: Stream) -> String? {
    if case .file(let path, _) = stream { path } else { nil }
  }
  private static func put(_ stream: Stream, _ words: inout [UInt64], _ at: Int, _ path: UInt64) {
    switch stream {
    case .console: break
    case .pipe(let address, let capacity, let peer):
      (words[at], words[at + 1], words[at + 2], words[at + 3]) = (1, address, capacity, peer)
    case .file(_, let appends): (words[at], words[at + 1], words[at + 2]) = (2, path, appends ? 1 : 0)
    }
  }

  /// A record in memory, read where it lies.
  public struct View: Sendable {
    let base: UInt64

    /// Nil if there is none.
    init?(at base: UInt64) {
      self.base = base
      guard word(Word.magic) == ProcessRecord.magic else { return nil }
    }
    private func word(_ index: Int) -> UInt64 {
      UnsafePointer<UInt64>(bitPattern: UInt(base)).unsafelyUnwrapped[index]
    }
    var argumentCount: Int { Int(word(Word.arguments)) }
    var arguments: StringTable { StringTable(address: word(Word.argumentTable), count: argumentCount) }
    var variableCount: Int { Int(word(Word.variables)) }
    var variables: StringTable { StringTable(address: word(Word.variableTable), count: variableCount) }
    var takesSignals: Bool { word(Word.signals) != 0 }
    var files: (address: UInt64, size: UInt64) { (word(Word.files), word(Word.filesSize)) }
    var input: Stream { stream(Word.input) }
    var output: Stream { stream(Word.output) }
    /// Nil: where the output goes.
    var errors: Stream? { word(Word.errors) == 3 ? nil : stream(Word.errors) }

    /// A capability that its maker gave it; nil if none has the name.
    func capability(named name: String) -> UInt64? {
      let count = Int(word(Word.capabilities))
      let names = StringTable(address: word(Word.capabilityTable), count: count)
      // Behind all strings of all tables: the paths follow the names.
      let handles = Word.count + argumentCount + variableCount + count + ProcessRecord.pathCount
      for index in 0..<count where String(cString: names[index]) == name { return word(handles + index) }
      return nil
    }

    private func stream(_ at: Int) -> Stream {
      switch word(at) {
      case 1: .pipe(address: word(at + 1), capacity: word(at + 2), peer: word(at + 3))
      case 2:
        .file(
          path: String(cString: UnsafePointer<CChar>(bitPattern: UInt(word(at + 1))).unsafelyUnwrapped),
          appends: word(at + 2) != 0)
      default: .console
      }
    }
  }
}
