import Exo
import Glibc

/// passt (Debian package `passt`): a network for whoever has no privileges. It speaks frames over a socket and makes
/// connections of this user's own out of them.
enum Passt {
  /// Starts it with a socket; it ends when that is closed. Returns our end.
  static func start(publishing ports: [PublishedPort]) throws(Failure) -> Int32 {
    guard let path = find() else {
      throw Failure(
        .usage, "--net passt needs passt, which is not installed: sudo apt-get install -y passt")
    }
    let ends: (own: Int32, other: Int32)
    do throws(HostError) { ends = try Machine.frameStream() } catch {
      throw Failure(.usage, "no socket for passt: \(error)")
    }
    defer { close(ends.other) }
    // One-off, with no output but complaints, and nothing of the host's own published unless it is named.
    var words = [path, "--foreground", "--quiet", "--fd", "\(ends.other)", "--mtu", "1500"]
    words += ["--tcp-ports", list(ports.filter(\.isTCP)), "--udp-ports", list(ports.filter(\.isUDP))]
    do throws(Failure) { try spawn(words) } catch {
      close(ends.own)
      throw error
    }
    return ends.own
  }

  private static func list(_ ports: [PublishedPort]) -> String {
    ports.isEmpty ? "none" : ports.map { "\($0.host):\($0.guest)" }.joined(separator: ",")
  }

  private static func find() -> String? {
    let path = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? "/usr/bin:/bin"
    return path.split(separator: ":").map { "\($0)/passt" }.first { unsafe access($0, X_OK) == 0 }
  }

  private static func spawn(_ words: [String]) throws(Failure) {
    // A list that ends with nil, of copies that live until the program has been started.
    var copies: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
    defer { for index in unsafe copies.indices { unsafe free(copies[index]) } }
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    // Signals are this program's own affair, and a group of its own keeps Ctrl-C from it: it ends with its socket.
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))
    var child: pid_t = 0
    let result = unsafe posix_spawn(&child, words[0], nil, &attributes, &copies, environ)
    guard result == 0 else {
      throw Failure(.usage, "\(words[0]) cannot be started: errno \(result)")
    }
  }
}
