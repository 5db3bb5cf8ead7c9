import Glibc
import TestSupport

/// A network namespace of Linux with nothing in it but what a test puts there. It goes, with all that is in it, when this
/// object does; nothing in it reaches beyond it.
final class NetworkNamespace {
  let name: String
  nonisolated(unsafe) private static var made = 0

  init() throws {
    Self.made += 1
    name = "exo-test-\(getpid())-\(Self.made)"
    try Self.ip(["netns", "add", name])
    try ip("link", "set", "lo", "up")
  }
  deinit { try? Self.ip(["netns", "delete", name]) }

  struct Failed: Error, CustomStringConvertible { let description: String }

  private static func ip(_ words: [String]) throws {
    let result = try Command("/usr/sbin/ip", words).run()
    guard result.status == .exited(0) else {
      throw Failed(description: "ip \(words.joined(separator: " ")): \(result.errors)")
    }
  }
  /// `ip` within it.
  func ip(_ words: String...) throws { try Self.ip(["-n", name] + words) }

  /// A command that runs within it.
  func command(_ path: String, _ arguments: [String]) -> Command {
    var command = Command("/usr/sbin/ip", ["netns", "exec", name, path] + arguments)
    command.limit = .seconds(90)
    return command
  }
  func command(_ path: String, _ arguments: String...) -> Command { command(path, arguments) }
  /// exorun within it.
  func exorun(_ arguments: String...) -> Command {
    let plain = Command.exorun(arguments)
    var command = command(plain.path, arguments)
    command.variables = plain.variables
    return command
  }

  /// A TAP device with addresses of the kernel's own: 10.77.0.1/24 and fd77::1/64.
  func addTap(_ device: String, hasQueues: Bool = false) throws {
    try Self.ip(
      ["-n", name, "tuntap", "add", device, "mode", "tap"] + (hasQueues ? ["multi_queue"] : []))
    try address(device)
  }
  /// A pair of which one end has the kernel's addresses and the other has none.
  func addPair(_ device: String, _ other: String) throws {
    try ip("link", "add", device, "type", "veth", "peer", "name", other)
    try ip("link", "set", other, "addrgenmode", "none")
    try ip("link", "set", other, "up")
    try address(device)
  }
  private func address(_ device: String) throws {
    try ip("address", "add", "10.77.0.1/24", "dev", device)
    try ip("address", "add", "fd77::1/64", "dev", device, "nodad")
    try ip("link", "set", device, "up")
  }
}
