/// Where a package that is made takes Exo from.
enum PackageSource {
  /// A checkout on this machine, by its absolute path.
  case path(String)
  /// A repository and the oldest version wanted.
  case url(String, version: String)

  /// What SwiftPM calls the package there: the last part of where it is.
  var identity: String {
    switch self {
    case .path(let path): return Self.lastPart(path)
    case .url(let url, _):
      let part = Self.lastPart(url)
      return part.hasSuffix(".git") ? String(part.dropLast(4)) : part
    }
  }

  /// As the manifest says it.
  var requirement: String {
    switch self {
    case .path(let path): "path: \(Self.quoted(path))"
    case .url(let url, let version): "url: \(Self.quoted(url)), from: \(Self.quoted(version))"
    }
  }

  /// A path or URL given by hand.
  init(path: String) throws(Failure) {
    guard let absolute = HostFolder.absolute(path), HostFile.exists(absolute + "/Package.swift"),
      HostFile.exists(absolute + "/Sources/LibOS")
    else { throw Failure(.usage, "\(path): no checkout of Exo is there") }
    self = .path(try Self.checked(absolute))
  }

  init(url: String) throws(Failure) {
    guard url.contains("://") || url.contains("@"), !Self.lastPart(url).isEmpty else {
      throw Failure(.usage, "`\(url)` is no URL of a repository (--path takes a folder)")
    }
    self = .url(try Self.checked(url), version: Exorun.version)
  }

  /// Where this exorun came from: what its installation wrote down, or the checkout it was built in.
  init(near executable: String) throws(Failure) {
    let folder = executable.split(separator: "/").dropLast()
    let record = "/" + folder.dropLast().joined(separator: "/") + "/share/exo/source"
    if let text = HostFile.text(record), let line = text.split(separator: "\n").first {
      self = try line.contains("://") ? PackageSource(url: String(line)) : PackageSource(path: String(line))
      return
    }
    for length in (0..<folder.count).reversed() {
      let path = "/" + folder.prefix(length).joined(separator: "/")
      if let source = try? PackageSource(path: path) {
        self = source
        return
      }
    }
    throw Failure(.usage, "say where Exo is: --path FOLDER or --url URL")
  }

  private static func lastPart(_ text: String) -> String {
    text.split(whereSeparator: { $0 == "/" || $0 == ":" }).last.map(String.init) ?? ""
  }

  private static func checked(_ text: String) throws(Failure) -> String {
    guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f }) else {
      throw Failure(.usage, "control characters in the place where Exo is")
    }
    return text
  }

  /// As a literal of Swift.
  static func quoted(_ text: String) -> String {
    var out = "\""
    for character in text.unicodeScalars {
      if character == "\"" || character == "\\" { out += "\\" }
      out.unicodeScalars.append(character)
    }
    return out + "\""
  }
}
