/// Why something could not be done to a file.
public enum FileError: Error, Equatable, Sendable {
  case noEntry
  case exists
  case notDirectory
  case isDirectory
  case notEmpty
  /// Not a path: no part may be empty or longer than `FileTree.longestName`.
  case badPath
  /// No blocks or nodes are left.
  case full
  /// Another holds the tree.
  case busy
  /// Somebody who shares the tree has written nonsense into it.
  case corrupt
}

extension FileError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .noEntry: "no such file or directory"
    case .exists: "exists"
    case .notDirectory: "not a directory"
    case .isDirectory: "is a directory"
    case .notEmpty: "directory not empty"
    case .badPath: "not a path"
    case .full: "no space left"
    case .busy: "busy"
    case .corrupt: "the file tree is damaged"
    }
  }
}
