/// Where in a guest's source an address is. What is not known is nil.
public struct SourceLocation: Sendable, Hashable, CustomStringConvertible {
  public var address: GuestAddress
  /// The function that was called, as the source spells it.
  public var function: String?
  /// Bytes from the function's first instruction.
  public var offset: UInt64 = 0
  /// The function inlined into it that `file` and `line` belong to.
  public var inlined: String?
  /// The file's path as the compiler saw it.
  public var file: String?
  public var line: Int?
  /// Why Swift traps here, if it does: `arithmetic overflow`.
  public var failure: String?

  /// The last component of `file`.
  public var fileName: String? { file?.split(separator: "/").last.map(String.init) }

  /// One line: `main.crash() + 12 at Crash.swift:7: arithmetic overflow`, or less, down to the bare address.
  public var description: String {
    var text = function ?? address.description
    if function != nil, offset > 0 { text += " + \(offset)" }
    if let inlined { text += " in inlined \(inlined)" }
    if let fileName {
      text += " at \(fileName)"
      if let line { text += ":\(line)" }
    }
    if let failure { text += ": \(failure)" }
    return text
  }
}
