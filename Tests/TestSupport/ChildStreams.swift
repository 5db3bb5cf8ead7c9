import Glibc

/// Both ends of a child's standard streams. All are closed on exec: a child that another test starts at the same
/// moment must not hold them open.
struct ChildStreams {
  /// Our ends; -1 for none.
  private(set) var input: Int32 = -1
  private(set) var output: Int32 = -1
  private(set) var errors: Int32 = -1
  private(set) var terminal: Int32 = -1
  private(set) var terminalPath = ""
  /// The child's ends of 0, 1 and 2; -1 to have none.
  private(set) var child: [Int32] = [-1, -1, -1]

  init(_ command: Command) throws(CommandError) {
    if command.onTerminal {
      try openTerminal()
      return
    }
    switch command.input {
    case .closed: break
    case .nothing: child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)
    case .text, .waiting:
      (child[0], input) = try Self.pipe()
      _ = fcntl(input, F_SETFL, O_NONBLOCK)
    }
    switch command.output {
    case .captured:
      (output, child[1]) = try Self.pipe()
      _ = fcntl(output, F_SETFL, O_NONBLOCK)
    case .closed: break
    case .broken:
      let ends = try Self.pipe()
      close(ends.read)
      child[1] = ends.write
    case .full: child[1] = open("/dev/full", O_WRONLY | O_CLOEXEC)
    }
    (errors, child[2]) = try Self.pipe()
    _ = fcntl(errors, F_SETFL, O_NONBLOCK)
  }

  private mutating func openTerminal() throws(CommandError) {
    terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    guard terminal >= 0 else { throw CommandError("/dev/ptmx", errno) }
    // TIOCSPTLCK and TIOCGPTN: unlock the other end and ask for its number.
    var (locked, number) = (Int32(0), UInt32(0))
    guard ioctl(terminal, 0x4004_5431, &locked) == 0, ioctl(terminal, 0x8004_5430, &number) == 0 else {
      throw CommandError("a pseudo-terminal", errno)
    }
    terminalPath = "/dev/pts/\(number)"
    _ = fcntl(terminal, F_SETFL, O_NONBLOCK)
    (input, output) = (terminal, terminal)
  }

  private static func pipe() throws(CommandError) -> (read: Int32, write: Int32) {
    var ends: [Int32] = [-1, -1]
    guard Glibc.pipe(&ends) == 0 else { throw CommandError("pipe", errno) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  func closeChildEnds() { for descriptor in child where descriptor >= 0 { close(descriptor) } }
}

/// Starts a command in its own session if it has a terminal, which then is the session's.
func spawn(_ command: Command, _ streams: ChildStreams) throws(CommandError) -> pid_t {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  for number in Int32(0)...2 {
    if command.onTerminal {
      posix_spawn_file_actions_addopen(&actions, number, streams.terminalPath, O_RDWR, 0)
    } else if streams.child[Int(number)] >= 0 {
      posix_spawn_file_actions_adddup2(&actions, streams.child[Int(number)], number)
    } else {
      posix_spawn_file_actions_addclose(&actions, number)
    }
  }
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var defaults = sigset_t()
  sigfillset(&defaults)
  for signal in command.ignoredSignals { sigdelset(&defaults, signal) }
  posix_spawnattr_setsigdefault(&attributes, &defaults)
  var unblocked = sigset_t()
  sigemptyset(&unblocked)
  posix_spawnattr_setsigmask(&attributes, &unblocked)
  let flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (command.onTerminal ? 0x80 : 0)  // SETSID
  posix_spawnattr_setflags(&attributes, Int16(flags))

  var variables: [String: String] = command.variables
  var next = environ
  while let entry = next.pointee {
    let text = String(cString: entry)
    if let equals = text.firstIndex(of: "="), variables[String(text[..<equals])] == nil {
      variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
    }
    next += 1
  }
  return try withCStrings([command.path] + command.arguments) { words throws(CommandError) in
    try withCStrings(variables.map { "\($0.key)=\($0.value)" }) { environment throws(CommandError) in
      // A signal is ignored by inheritance only: there is no attribute for it.
      let before = command.ignoredSignals.map { signal($0, SIG_IGN) }
      defer { for (number, action) in zip(command.ignoredSignals, before) { signal(number, action) } }
      var process: pid_t = 0
      let result = posix_spawn(&process, command.path, &actions, &attributes, words, environment)
      guard result == 0 else { throw CommandError("starting \(command.path)", result) }
      return process
    }
  }
}

private func withCStrings<R>(
  _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) throws(CommandError) -> R
) throws(CommandError) -> R {
  let copies = texts.map { strdup($0) }
  defer { for copy in copies { free(copy) } }
  return try body(copies + [nil])
}
