/// The name of a package to be made: its folder, its target and its image are called so.
struct PackageName {
  let text: String

  static let longest = 64

  /// - Throws: a failure that says what is wrong with it.
  init(_ text: String) throws(Failure) {
    func refuse(_ reason: String) -> Failure {
      Failure(
        .usage, "`\(text.prefix(2 * Self.longest).filter { !$0.isNewline })` cannot name a package: \(reason)"
      )
    }
    guard let first = text.utf8.first else { throw Failure(.usage, "say what the package is to be called") }
    guard text.utf8.count <= Self.longest else { throw refuse("it has more than \(Self.longest) letters") }
    guard Self.isLetter(first), text.utf8.allSatisfy({ Self.isLetter($0) || Self.isOther($0) }) else {
      throw refuse("a letter first, then letters, digits, - and _")
    }
    guard !Self.taken.contains(text.lowercased()) else {
      throw refuse("Exo or Swift uses that name itself")
    }
    self.text = text
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")
      || byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
  }
  private static func isOther(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") || byte == UInt8(ascii: "-")
      || byte == UInt8(ascii: "_")
  }

  /// In lower case: Exo's targets, since the names of all targets of a build are one space (a test compares the manifest);
  /// modules of Swift's; words that no module may be called.
  static let taken: Set<String> = [
    "exo", "exoabi", "exoguests", "exorun", "exoselftest", "exossupport", "exotests", "ckvm",
    "nucleus",
    "libos", "libosc", "liboscheader", "liboshost", "libostests", "guestruntime",
    "concurrencysupport", "hostilesupport", "jsontext", "toml", "stageguests", "testsupport", "abitests",
    "benchtests", "commandlinetests", "guesttests", "benchsupport", "benchfloor", "benchlinux", "benchwork",
    "benchloops", "benchkit", "benchproducts", "benchproductshost", "exosconcurrency", "exosmemory",
    "exosmemoryhost", "exosthreads", "exosthreadshost", "exosipc", "exosipchost", "exosprocess",
    "exosprocesshost", "exosfork", "exosforkhost", "exosshell", "exosshellhost", "exosnetwork",
    "exosnetworkhost", "guesthello", "guestbasics", "guestfamily", "guestbench", "guestexos",
    "guestunix",
    "guestnetwork", "guesthostile", "guestc", "embeddingexample",
    "swift", "main", "builtin", "synchronization", "foundation", "glibc", "testing", "xctest", "distributed",
    "observation", "cxx", "regexbuilder",
    "actor", "any", "as", "associatedtype", "async", "await", "break", "case", "catch", "class", "continue",
    "default",
    "defer", "deinit", "do", "else", "enum", "extension", "fallthrough", "false", "fileprivate", "for",
    "func",
    "guard", "if", "import", "in", "init", "inout", "internal", "is", "let", "nil", "operator", "package",
    "precedencegroup", "private", "protocol", "public", "repeat", "rethrows", "return", "self", "static",
    "struct",
    "subscript", "super", "switch", "throw", "throws", "true", "try", "typealias", "var", "where", "while",
  ]
}
