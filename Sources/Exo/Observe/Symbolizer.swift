/// Where in a guest's source an address is. What is not known is nil.
public struct SourceLocation: Sendable, Hashable, CustomStringConvertible {
  public var address: GuestAddress
  /// The function's name as the source spells it.
  public var function: String?
  /// Bytes from the function's first instruction.
  public var offset: UInt64 = 0
  /// The file's path as the compiler saw it.
  public var file: String?
  public var line: Int?

  /// The last component of `file`.
  public var fileName: String? { file?.split(separator: "/").last.map(String.init) }

  /// One line: `main.crash() + 12 at Crash.swift:7`, or the bare address.
  public var description: String {
    var text = function ?? address.description
    if function != nil, offset > 0 { text += " + \(offset)" }
    if let fileName {
      text += " at \(fileName)"
      if let line { text += ":\(line)" }
    }
    return text
  }
}

/// Turns addresses of an image into names and lines. Making one reads all of the image's symbols and line
/// programs: make it when a report is due, not before.
public struct Symbolizer: Sendable {
  private let symbols: SymbolTable?
  private let lines: LineTable?

  public init(image: GuestImage) { self.init(bytes: image.bytes) }

  /// From any ELF file; one without symbols or debug information answers with bare addresses.
  init(bytes: [UInt8]) {
    let sections = ImageSections(bytes)
    symbols = sections.flatMap(SymbolTable.init)
    lines = sections.flatMap(LineTable.init)
  }

  /// Where the instruction at `address` comes from.
  public func location(of address: GuestAddress) -> SourceLocation {
    var location = SourceLocation(address: address)
    if let (name, start) = symbols?.function(containing: address) {
      location.function = demangled(name)
      location.offset = address.value - start.value
    }
    if let (file, line) = lines?.source(of: address) {
      location.file = file.map(printable)
      location.line = line
    }
    return location
  }
}
