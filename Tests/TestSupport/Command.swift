import Glibc

/// A program to run as a shell would, and what its standard streams are.
///
///     let result = try Command.exorun("launch", "hello").run()
///     #expect(result.status == .exited(0))
public struct Command: Sendable {
  public enum Input: Sendable {
    /// /dev/null.
    case nothing
    /// Not even open.
    case closed
    /// A pipe with these bytes, then its end.
    case text(String)
    /// A pipe that stays open and empty until the command has ended.
    case waiting
  }
  public enum Output: Sendable {
    case captured
    case closed
    /// A pipe that nobody reads.
    case broken
    /// /dev/full: every write fails for want of room.
    case full
  }

  public var path: String
  public var arguments: [String]
  /// Added to this process's own environment.
  public var variables: [String: String] = [:]
  public var input = Input.nothing
  public var output = Output.captured
  /// Signals it starts with ignored; all others have their default action.
  public var ignoredSignals: [Int32] = []
  /// Input, output and error are one terminal; `input` and `output` count for nothing then.
  public var onTerminal = false
  /// It is killed after this.
  public var limit: Duration = .seconds(60)

  public init(_ path: String, _ arguments: [String]) {
    self.path = path
    self.arguments = arguments
  }

  /// The exorun that was built with the tests.
  public static func exorun(_ arguments: String...) -> Command { exorun(arguments) }
  public static func exorun(_ arguments: [String]) -> Command {
    var command = Command(productDirectory + "/exorun", arguments)
    // What a developer set must not change what is tested.
    command.variables["NO_COLOR"] = ""
    command.variables["TERM"] = "xterm"
    // Its machines' control sockets are not to be among the developer's own.
    command.variables["XDG_RUNTIME_DIR"] = runtimeDirectory
    return command
  }

  /// The same with another input.
  public func reading(_ input: Input) -> Command {
    var command = self
    command.input = input
    return command
  }

  /// Runs it to its end.
  public func run() throws -> CommandResult { try start().finish() }

  public func start() throws -> RunningCommand { try RunningCommand(self) }

  private static let runtimeDirectory: String = {
    let path = productDirectory + "/runtime"
    mkdir(path, 0o700)
    return path
  }()

  /// Where the test bundle and all other products lie.
  public static let productDirectory: String = {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    let path = String(decoding: buffer[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)])
  }()
}

/// How a command ended.
public struct CommandResult: Sendable {
  public enum Status: Hashable, Sendable {
    case exited(Int32)
    case signalled(Int32)
    /// Killed by the tests: it did not end within its limit.
    case overran
  }
  public let status: Status
  public let output: String
  public let errors: String
}

/// Why a command could not be started.
public struct CommandError: Error, CustomStringConvertible {
  public let description: String
  init(_ operation: String, _ code: Int32) {
    description = "\(operation): \(String(cString: strerror(code)))"
  }
}
