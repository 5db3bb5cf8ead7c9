/// Why a machine's control socket could not be made or reached.
public enum ControlError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Neither XDG_RUNTIME_DIR nor HOME says where it should be.
  case noFolder
  case notAbsolute(variable: String, value: String)
  /// The folder, or what is there in its place, is not this user's alone.
  case foreignFolder(path: String, owner: UInt32)
  case openFolder(path: String, mode: UInt32)
  case folder(path: String, HostError)
  /// No machine of that name, or it has ended.
  case noSuchMachine(String)
  case socket(String, HostError)

  public var description: String {
    switch self {
    case .noFolder: "set XDG_RUNTIME_DIR or HOME: control sockets are kept in a folder of the user's own"
    case .notAbsolute(let variable, let value): "\(variable) is no absolute path: `\(value)`"
    case .foreignFolder(let path, let owner):
      "\(path) belongs to user \(owner): control sockets are only kept in a folder of one's own"
    case .openFolder(let path, let mode):
      "\(path) has mode 0\(String(mode, radix: 8)): others could use it (chmod 700 \(path))"
    case .folder(let path, let error): "\(path): \(error)"
    case .noSuchMachine(let name): "no machine `\(name)` is running"
    case .socket(let name, let error): "machine \(name): \(error)"
    }
  }
}
