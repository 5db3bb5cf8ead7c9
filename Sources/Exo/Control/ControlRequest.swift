import JSONText

/// What a client asks for: docs/control.md says how it is written.
enum ControlRequest: Hashable, Sendable {
  case snapshot
  case kill(EnvironmentID)
  case trace(Set<TraceEvent.Category>, of: Set<EnvironmentID>?)
  /// Packets, so many bytes of each.
  case capture(bytes: Int, of: Set<EnvironmentID>?)

  /// The version of the protocol, in every request and first answer.
  static let version: UInt64 = 1
  /// Most bytes of a request.
  static let limit = 4096
}

/// Why a request is not carried out: its code in the protocol, and what to tell a person.
enum ControlRefusal: Error, Hashable, Sendable {
  case malformed(String)
  case tooLong
  case version(UInt64?)
  case unknownRequest(String)
  case badArgument(String)
  case noSuchEnvironment(UInt32)
  case notYourMachine
  case busy

  var code: String {
    switch self {
    case .malformed: "malformed"
    case .tooLong: "too-long"
    case .version: "version"
    case .unknownRequest: "unknown-request"
    case .badArgument: "bad-argument"
    case .noSuchEnvironment: "no-such-environment"
    case .notYourMachine: "not-permitted"
    case .busy: "busy"
    }
  }
  var text: String {
    switch self {
    case .malformed(let why): "not a JSON object on one line: \(why)"
    case .tooLong: "a request has at most \(ControlRequest.limit) bytes"
    case .version(let found):
      "this machine speaks version \(ControlRequest.version), not \(found.map(String.init) ?? "one without \"exo\"")"
    case .unknownRequest(let word): "no request is called `\(word)`"
    case .badArgument(let name): "`\(name)` is missing or not what it should be"
    case .noSuchEnvironment(let number): "there is no environment \(number)"
    case .notYourMachine: "the machine is another user's"
    case .busy: "too many clients"
    }
  }
  /// Whether the client may go on.
  var isMild: Bool {
    switch self {
    case .unknownRequest, .badArgument, .noSuchEnvironment: true
    default: false
    }
  }
}

extension ControlRequest {
  /// Reads a request, without its line feed.
  init(_ line: some Sequence<UInt8>) throws(ControlRefusal) {
    let json: JSON
    do throws(JSONError) { json = try JSON(parsing: String(decoding: Array(line), as: UTF8.self)) } catch {
      throw .malformed("\(error)")
    }
    guard case .object = json else { throw .malformed("it is something else") }
    guard let version = json["exo"]?.count, version == Self.version else {
      throw .version(json["exo"]?.count)
    }
    guard let word = json["do"]?.string else { throw .badArgument("do") }
    switch word {
    case "snapshot": self = .snapshot
    case "kill": self = .kill(try Self.environment(json["environment"], "environment"))
    case "trace":
      var categories = Set(TraceEvent.Category.allCases)
      if let names = json["events"] {
        guard let names = names.array, !names.isEmpty else { throw .badArgument("events") }
        categories = []
        for name in names {
          guard let category = name.string.flatMap(TraceEvent.Category.init(named:)) else {
            throw .badArgument("events")
          }
          categories.insert(category)
        }
      }
      self = .trace(categories, of: try Self.environments(json))
    case "capture":
      var bytes = 65_535
      if let wanted = json["bytes"] {
        guard let count = wanted.count, count <= 65_535 else { throw .badArgument("bytes") }
        bytes = Int(count)
      }
      self = .capture(bytes: bytes, of: try Self.environments(json))
    default: throw .unknownRequest(word)
    }
  }

  /// Those that a request is restricted to; nil if it is not.
  private static func environments(_ json: JSON) throws(ControlRefusal) -> Set<EnvironmentID>? {
    guard let numbers = json["environments"] else { return nil }
    guard let numbers = numbers.array, !numbers.isEmpty else { throw .badArgument("environments") }
    var environments: Set<EnvironmentID> = []
    for number in numbers { environments.insert(try Self.environment(number, "environments")) }
    return environments
  }

  private static func environment(_ json: JSON?, _ name: String) throws(ControlRefusal) -> EnvironmentID {
    guard let number = json?.count.flatMap(UInt32.init(exactly:)), number > 0 else {
      throw .badArgument(name)
    }
    return EnvironmentID(number)
  }
}

extension TraceEvent.Category {
  /// As requests and commands call it.
  public init?(named name: String) {
    guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = found
  }
  public var name: String { "\(self)" }
}
