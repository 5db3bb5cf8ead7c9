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
    let paths = [Self.path(input), Self.path(output), errors.flatMap { Self.path($0) }]
    let strings = arguments + variables + capabilities.map { $0.name } + paths.map { $0 ?? "" }
    let textStart = (Word.count + strings.count + capabilities.count) * 8
    let size = strings.reduce(textStart) { $0 + $1.utf8.count + 1 }
    guard size <= Self.mostPages << 12 else { return nil }
    var isSound = true
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { (bytes, count) in
      bytes.initialize(repeating: 0)
      count = size
      let words = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(bytes)[..<textStart])
      func put(_ value: UInt64, _ word: Int) {
        words.storeBytes(of: value, toByteOffset: word * 8, as: UInt64.self)
      }
      // The strings, and where each begins.
      var at = textStart
      for (index, string) in strings.enumerated() {
        put(base + UInt64(at), Word.count + index)
        for byte in string.utf8 {
          if byte == 0 { isSound = false }
          bytes[at] = byte
          at += 1
        }
        at += 1
      }
      for (index, capability) in capabilities.enumerated() {
        put(capability.handle, Word.count + strings.count + index)
      }
      let table = base + UInt64(Word.count * 8)
      put(Self.magic, Word.magic)
      put(UInt64(arguments.count), Word.arguments)
      put(table, Word.argumentTable)
      put(UInt64(variables.count), Word.variables)
      put(table + UInt64(arguments.count * 8), Word.variableTable)
      put(files.address, Word.files)
      put(files.size, Word.filesSize)
      put(takesSignals ? 1 : 0, Word.signals)
      put(UInt64(capabilities.count), Word.capabilities)
      put(table + UInt64((arguments.count + variables.count) * 8), Word.capabilityTable)
      for (index, (stream, word)) in [(input, Word.input), (output, Word.output), (errors, Word.errors)]
        .enumerated()
      {
        guard let stream else {
          put(3, word)
          continue
        }
        let path = words.load(
          fromByteOffset: (Word.count + strings.count - Self.pathCount + index) * 8, as: UInt64.self)
        for (offset, value) in Self.words(of: stream, path).enumerated() { put(value, word + offset) }
      }
    }
    return isSound ? bytes : nil
  }

  /// Each stream may have one: they are the last of the strings.
  private static var pathCount: Int { 3 }
  private static func path(_ stream: Stream) -> String? {
    if case .file(let path, _) = stream { path } else { nil }
  }
  private static func words(of stream: Stream, _ path: UInt64) -> [UInt64] {
    switch stream {
    case .console: []
    case .pipe(let address, let capacity, let peer): [1, address, capacity, peer]
    case .file(_, let appends): [2, path, appends ? 1 : 0]
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
