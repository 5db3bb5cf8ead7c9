import CKVM
import Glibc

/// The folder that holds the control sockets of a user's machines, `ID.sock` each: `$XDG_RUNTIME_DIR/exo`, or `$HOME/.exo`
/// where that is not set. Nobody else may even look into it (mode 0700), and everything in it is named relative to
/// the folder as it was opened and checked, so that nothing can be put in its place meanwhile.
public struct ControlFolder: ~Copyable, Sendable {
  public let path: String
  private let descriptor: Descriptor

  /// Where the folder is for this process.
  public static func usualPath() throws(ControlError) -> String {
    for (variable, folder) in [("XDG_RUNTIME_DIR", "exo"), ("HOME", ".exo")] {
      // The environment is not changed while the program runs.
      guard let value = unsafe getenv(variable).map({ unsafe String(cString: $0) }), !value.isEmpty else {
        continue
      }
      guard value.hasPrefix("/") else { throw .notAbsolute(variable: variable, value: value) }
      return value.hasSuffix("/") ? value + folder : value + "/" + folder
    }
    throw .noFolder
  }

  /// Opens the folder; nil if there is none and it is not to be made.
  public init?(_ path: String, making: Bool) throws(ControlError) {
    if making, unsafe mkdir(path, 0o700) != 0, errno != EEXIST {
      throw .folder(path: path, HostError("mkdir", -errno))
    }
    let number = unsafe open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard number >= 0 else {
      if errno == ENOENT, !making { return nil }
      throw .folder(path: path, HostError("open", -errno))
    }
    let descriptor = Descriptor(number)
    var status = stat()
    // Fills the whole structure, or fails.
    guard unsafe fstat(number, &status) == 0 else { throw .folder(path: path, HostError("fstat", -errno)) }
    guard status.st_uid == geteuid() else { throw .foreignFolder(path: path, owner: status.st_uid) }
    guard status.st_mode & 0o077 == 0 else { throw .openFolder(path: path, mode: status.st_mode & 0o7777) }
    self.path = path
    self.descriptor = descriptor
  }

  /// Names of the machines whose sockets are there, those of machines that have ended badly included; in order.
  public var machines: [String] {
    guard let folder = unsafe opendir("/proc/self/fd/\(descriptor.number)") else { return [] }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
      // A C string within the entry, which is valid until the next call.
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name.hasSuffix(".sock"), !name.hasPrefix(".") { names.append(String(name.dropLast(5))) }
    }
    return names.sorted { ($0.count, $0) < ($1.count, $1) }
  }

  /// A connection to a machine. A socket that nobody serves any more is removed.
  /// - Returns: a descriptor that is the caller's to close.
  public func connect(to machine: String) throws(ControlError) -> Int32 {
    guard !machine.isEmpty, machine.utf8.count <= 64, !machine.contains("/"), !machine.hasPrefix(".") else {
      throw .noSuchMachine(machine)
    }
    let result = unsafe ckvm_socket_connect(place(machine))
    if result == -ECONNREFUSED { unsafe _ = unlinkat(descriptor.number, machine + ".sock", 0) }
    guard result >= 0 else {
      throw result == -ECONNREFUSED || result == -ENOENT
        ? .noSuchMachine(machine) : .socket(machine, HostError("connect", result))
    }
    var user: UInt32 = .max
    // Writes one number.
    let known = unsafe ckvm_socket_peer(result, &user)
    guard known >= 0, user == geteuid() || user == 0 else {
      close(result)
      throw .foreignFolder(path: "\(path)/\(machine).sock", owner: user)
    }
    return result
  }

  /// Makes a socket that is served from its first moment under its name, so that whoever finds a name and nobody who serves
  /// it may remove it.
  func listen() throws(ControlError) -> (socket: Int32, machine: String) {
    let process = getpid()
    let hidden = ".\(process)-\(ckvm_thread_id()).new"
    unsafe _ = unlinkat(descriptor.number, hidden, 0)
    let socket = unsafe ckvm_socket_listen("/proc/self/fd/\(descriptor.number)/\(hidden)")
    guard socket >= 0 else { throw .folder(path: path, HostError("bind", socket)) }
    defer { unsafe _ = unlinkat(descriptor.number, hidden, 0) }
    var failure: Int32 = EEXIST
    for attempt in 1...100 {
      let machine = attempt == 1 ? "\(process)" : "\(process)-\(attempt)"
      let name = machine + ".sock"
      for _ in 0..<2 {
        if unsafe linkat(descriptor.number, hidden, descriptor.number, name, 0) == 0 {
          return (socket, machine)
        }
        failure = errno
        guard failure == EEXIST else { break }
        // Left behind by a process of the same number, perhaps: looking removes it then.
        guard let other = try? connect(to: machine) else { continue }
        close(other)
        break
      }
      guard failure == EEXIST else { break }
    }
    close(socket)
    throw .folder(path: path, HostError("link", -failure))
  }

  func remove(_ machine: String) { unsafe _ = unlinkat(descriptor.number, machine + ".sock", 0) }

  private func place(_ machine: String) -> String { "/proc/self/fd/\(descriptor.number)/\(machine).sock" }
}
