/// Turns addresses of an image into names and lines. Making one reads all of the image's symbols and line
/// programs: make it when a report is due, not before.
public struct Symbolizer: Sendable {
  private let symbols: SymbolTable?
  private let lines: LineTable?
  private let info: DebugInfo?

  public init(image: GuestImage) { self.init(bytes: image.bytes) }

  /// From any ELF file; one without symbols or debug information answers with bare addresses.
  init(bytes: [UInt8]) {
    let sections = ImageSections(bytes)
    symbols = sections.flatMap(SymbolTable.init)
    lines = sections.flatMap(LineTable.init)
    info = sections.flatMap(DebugInfo.init)
  }

  /// Where the instruction at `address` comes from.
  public func location(of address: GuestAddress) -> SourceLocation {
    var location = SourceLocation(address: address)
    if let (name, start) = symbols?.function(containing: address) {
      location.function = demangled(name)
      location.offset = address.value - start.value
    }
    let scopes = info?.scopes(of: address)
    if let name = scopes?.inlined.last?.name, name.hasPrefix(Self.failurePrefix) {
      location.failure = printable(name.dropFirst(Self.failurePrefix.count))
    }

    // The innermost place that somebody wrote: neither what the compiler made up, nor its standard library, of
    // which no lines are kept.
    for frame in frames(of: address, scopes) where frame.line != nil && !Self.isMadeUp(frame.file) {
      location.file = frame.file.map { printable(Self.absolute($0, in: scopes?.directory)) }
      location.line = frame.line
      location.inlined = frame.function.map(demangled)
      break
    }
    return location
  }

  /// Where the call was made that will return to `address`.
  public func location(ofReturnAddress address: GuestAddress) -> SourceLocation {
    var location = location(of: GuestAddress(address.value &- 1))
    location.address = address
    if location.function != nil { location.offset += 1 }
    return location
  }

  private typealias Frame = (function: String?, file: String?, line: Int?)

  /// From the innermost inlined function to the one that was really called, whose name is nil.
  private func frames(of address: GuestAddress, _ scopes: DebugInfo.Scopes?) -> [Frame] {
    let source = lines?.source(of: address)
    var frames: [Frame] = [(scopes?.inlined.last?.name, source?.file, source?.line)]
    guard let scopes else { return frames }
    for (index, call) in scopes.inlined.enumerated().reversed() {
      let file = scopes.lineTable.flatMap { lines?.file(call.callFile, ofUnitAt: $0) }
      let line = Int(exactly: call.callLine).flatMap { $0 > 0 ? $0 : nil }
      frames.append((index > 0 ? scopes.inlined[index - 1].name : nil, file, line))
    }
    return frames
  }

  /// How Swift names the function it pretends to inline at a trap.
  private static let failurePrefix = "Swift runtime failure: "

  private static func isMadeUp(_ file: String?) -> Bool {
    file?.hasSuffix("<compiler-generated>") ?? false
  }

  private static func absolute(_ file: String, in directory: String?) -> String {
    guard let directory, !file.hasPrefix("/") else { return file }
    return "\(directory)/\(file)"
  }
}
