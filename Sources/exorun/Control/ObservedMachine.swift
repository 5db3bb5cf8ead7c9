import Exo
import JSONText

/// A machine's state, as its control socket tells it. A member that is missing counts as 0: machines of a later version may say
/// more, never something else.
struct ObservedMachine {
  let name: String
  let json: JSON
  let age: UInt64
  let environments: [ObservedEnvironment]

  init(_ name: String, _ json: JSON) {
    self.name = name
    self.json = json
    age = json.count("age")
    environments = (json["environments"]?.array ?? []).map(ObservedEnvironment.init)
  }

  /// Asks and waits for the answer.
  init(from connection: ControlConnection) throws(Failure) {
    try connection.send([("do", .string("snapshot"))])
    self.init(connection.machine, try connection.answer())
  }

  /// The number of a living environment, by its number or by a name that it alone has.
  func number(of word: String) throws(Failure) -> UInt64 {
    let living = environments.filter { $0.state != "ended" }
    let named = living.filter { $0.name == word }
    if named.count > 1 {
      let numbers = named.map { "\($0.number)" }.joined(separator: ", ")
      throw Failure(.usage, "\(named.count) environments are called `\(word)`: say which of \(numbers)")
    }
    if let only = named.first { return only.number }
    if let number = UInt64(word), living.contains(where: { $0.number == number }) { return number }
    let all = living.map { "\($0.number) \($0.name)" }.prefix(20).joined(separator: ", ")
    throw Failure(
      .usage, "machine \(name) has no environment `\(word)`; it has \(all.isEmpty ? "none" : all)")
  }
}

struct ObservedEnvironment {
  let json: JSON
  let number: UInt64
  let name: String
  let state: String
  init(_ json: JSON) {
    self.json = json
    number = json.count("environment")
    // Whoever made it chose the name: it must not steer a terminal.
    name = String(
      (json["name"]?.string ?? "").unicodeScalars.map { $0.properties.isPrintable ? Character($0) : "?" })
    state = json["state"]?.string ?? "?"
  }
  func count(_ member: String) -> UInt64 { json.count(member) }
}

extension Unicode.Scalar.Properties {
  fileprivate var isPrintable: Bool {
    switch generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
    default: true
    }
  }
}

extension JSON {
  /// The member as a count; 0 if there is none.
  func count(_ member: String) -> UInt64 { self[member]?.count ?? 0 }
}

extension ControlConnection {
  /// The answer to a request, when it has arrived.
  func answer(within seconds: Int = 10) throws(Failure) -> JSON {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
      if let line = nextLine() {
        let json = try Self.parse(line, from: machine)
        if json["error"] != nil {
          throw Failure(.usage, "machine \(machine): \(json["message"]?.string ?? "refused")")
        }
        return json
      }
      if hasEnded { throw gone }
      guard ContinuousClock.now < deadline else {
        throw Failure(.usage, "machine \(machine) does not answer")
      }
      try receive(waiting: 200)
    }
  }

  static func parse(_ line: ArraySlice<UInt8>, from machine: String) throws(Failure) -> JSON {
    do throws(JSONError) { return try JSON(parsing: String(decoding: line, as: UTF8.self)) } catch {
      throw Failure(.usage, "machine \(machine) said something that is no JSON: \(error)")
    }
  }
}
