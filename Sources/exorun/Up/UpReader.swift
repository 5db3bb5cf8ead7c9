import ArgumentParser
import Exo
import ExoSelftest
import TOML

/// Makes a description of an `up` file, and notes every mistake in it with its line.
struct UpReader {
  /// The folder that paths in the file start from, with its slash; empty for this process's own.
  private let folder: String
  private let document: TOMLDocument
  private var problems: [TOMLProblem]
  private var description = UpDescription()
  private var images: [String: Result<GuestImage, Failure>] = [:]
  /// Environments by name, with the line of their header.
  private var places: [String: (index: Int, line: Int)] = [:]
  private var namesAreComplete = true
  private var headerLines: [Int] = []

  /// Most bytes of a file that are read at all.
  static let sizeLimit = 1 << 20
  static let environmentLimit = 1024

  private init(_ bytes: [UInt8], folder: String) {
    self.folder = folder
    document = TOMLDocument(bytes)
    problems = document.problems
  }

  /// Reads a file. Nil with the mistakes, in the order of their lines, if there are any.
  static func read(_ path: String) throws(Failure) -> (description: UpDescription?, problems: [TOMLProblem]) {
    let bytes: [UInt8]
    do throws(HostFileError) { bytes = try HostFile(reading: path).contents(limit: sizeLimit) } catch {
      throw Failure(.usage, "\(path): \(error.ofText)")
    }
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    var reader = UpReader(bytes, folder: folder)
    reader.read()
    let problems = reader.problems.enumerated().sorted {
      ($0.element.line, $0.offset) < ($1.element.line, $1.offset)
    }.map(\.element)
    return (problems.isEmpty ? reader.description : nil, problems)
  }

  private mutating func read() {
    let root = document.root
    var top = TableReader(root, header: "the file", isDamaged: false)
    let (machine, environments, shares) = (
      top.table("machine"), top.tables("environment"), top.tables("share")
    )
    headerLines = ([machine].compactMap { $0 } + environments + shares).map(\.line).sorted()
    top.finish()
    problems += top.problems
    if let machine { readMachine(machine) }
    if environments.isEmpty, root["environment"] == nil, document.problems.isEmpty {
      problems.append(TOMLProblem(line: 1, "the file describes no [[environment]]"))
    }
    for table in environments { readEnvironment(table) }
    if environments.count > Self.environmentLimit {
      problems.append(
        TOMLProblem(
          line: environments[Self.environmentLimit].line,
          "\(environments.count) environments, of which a machine starts \(Self.environmentLimit) at most"))
    }
    var names: [String: Int] = [:]
    for table in shares { readShare(table, &names) }
  }

  private func reader(_ table: TOMLTable, _ header: String) -> TableReader {
    let end = headerLines.first { $0 > table.line } ?? .max
    let isDamaged = document.problems.contains { $0.line >= table.line && $0.line < end }
    return TableReader(table, header: header, isDamaged: isDamaged)
  }

  private mutating func readMachine(_ table: TOMLTable) {
    var reader = reader(table, "[machine]")
    description.machineLine = reader.line(of: "memory")
    if let memory = reader.memory("memory", atLeast: 1 << 20) { description.memory = memory }
    if let processors = reader.integer("processors", in: 1...64) { description.processors = Int(processors) }
    if let network = reader.string("net", parseNetwork) { description.network = network }
    for text in reader.strings("publish") {
      guard let port = PublishedPort(argument: text) else {
        reader.note(
          reader.line(of: "publish"), "`publish` holds `\(text)`, which is not \(PublishedPort.form)")
        continue
      }
      description.published.append(port)
    }
    if !description.published.isEmpty, description.network != .passt {
      reader.note(reader.line(of: "publish"), "`publish` needs `net = \"passt\"`")
    }
    reader.finish()
    problems += reader.problems
  }

  // --- environments

  private mutating func readEnvironment(_ table: TOMLTable) {
    var reader = reader(table, "[[environment]]")
    let name = reader.string("name", parseName)
    reader.require("name", name != nil)
    if let name {
      if let other = places[name] {
        reader.note(reader.line(of: "name"), "the environment of line \(other.line) is called `\(name)` too")
      } else {
        places[name] = (description.environments.count, table.line)
      }
    } else {
      namesAreComplete = false
    }
    let guest = reader.string("image")
    reader.require("image", guest != nil)
    var image: GuestImage?
    if let guest {
      do throws(Failure) { image = try self.image(guest) } catch {
        reader.note(reader.line(of: "image"), error.message)
      }
    }
    let arguments = reader.strings("arguments")
    let variables = reader.variables("variables")
    let memory = reader.memory("memory", atLeast: 4096)
    let timeLimit = reader.string("time-limit", parseDuration)
    let counts = 0...Int64(UInt32.max)
    let (capabilities, bindings, environments) = (
      reader.integer("capabilities", in: counts), reader.integer("bindings", in: counts),
      reader.integer("environments", in: counts)
    )
    let input = readInput(&reader)
    reader.finish()
    problems += reader.problems
    // What lacks something is kept out: nothing is started then anyway.
    guard let name, let guest, let image else { return }
    var environment = UpDescription.Environment(name: name, line: table.line, guest: guest, image: image)
    environment.arguments = arguments
    environment.variables = variables
    environment.memory = memory
    environment.timeLimit = timeLimit
    if let capabilities { environment.capabilities = UInt64(capabilities) }
    if let bindings { environment.bindings = UInt64(bindings) }
    if let environments { environment.environments = UInt64(environments) }
    environment.input = input
    description.environments.append(environment)
  }

  /// The image a word means, looked for once: a built-in guest's, or a file's.
  private mutating func image(_ word: String) throws(Failure) -> GuestImage {
    if let known = images[word] { return try known.get() }
    let result: Result<GuestImage, Failure>
    do throws(Failure) { result = .success(try findImage(word)) } catch { result = .failure(error) }
    images[word] = result
    return try result.get()
  }

  private func findImage(_ word: String) throws(Failure) -> GuestImage {
    if GuestCatalogue.named(word) != nil { return try GuestSource.image(word) }
    let path = word.hasPrefix("/") ? word : folder + word
    guard word.contains("/") || HostFile.exists(path) else {
      throw Failure(
        .noSuchGuest,
        "no guest is called `\(word)`: `exorun guests` lists those built in, a file is named by its path from here"
      )
    }
    return try GuestSource.image(path.contains("/") ? path : "./" + path)
  }

  private func readInput(_ reader: inout TableReader) -> Console.Input {
    guard let path = reader.string("stdin"), path != "none" else { return .empty }
    do throws(HostFileError) {
      let file = try HostFile(reading: path.hasPrefix("/") ? path : folder + path)
      return .bytes(try file.contents(limit: GuestSource.fileLimit))
    } catch {
      reader.note(reader.line(of: "stdin"), "stdin `\(path)`: \(error.ofText)")
      return .empty
    }
  }

  // --- shares

  private mutating func readShare(_ table: TOMLTable, _ names: inout [String: Int]) {
    var reader = reader(table, "[[share]]")
    let name = reader.string("name", parseShareName)
    reader.require("name", name != nil)
    if let name {
      if let line = names[name] {
        reader.note(reader.line(of: "name"), "the share of line \(line) is called `\(name)` too")
      } else {
        names[name] = table.line
      }
    }
    let pages = reader.integer("pages", in: 1...65_536)
    reader.require("pages", pages != nil)
    let (owner, receiver) = (end("from", &reader), end("to", &reader))
    if let from = table["from"], case .string(let first) = from.value, let to = table["to"],
      case .string(let second) = to.value, first == second
    {
      reader.note(to.line, "`from` and `to` are both `\(first)`")
    }
    let rights = reader.string("rights", parseRights)
    reader.require("rights", rights != nil)
    reader.finish()
    problems += reader.problems
    guard let name, let pages, let owner, let receiver, let rights else { return }
    description.shares.append(
      UpDescription.Share(
        name: name, line: table.line, pages: Int(pages), owner: owner, receiver: receiver, rights: rights))
  }

  /// One end of a share: the place of the environment with that name.
  private func end(_ key: String, _ reader: inout TableReader) -> Int? {
    let name = reader.string(key)
    reader.require(key, name != nil)
    guard let name else { return nil }
    // A name that was not understood may be the one that is meant.
    if places[name] == nil, namesAreComplete {
      reader.note(reader.line(of: key), "`\(key)`: no environment is called `\(name)`")
    }
    return places[name]?.index
  }
}

extension TableReader {
  /// A table of its own.
  fileprivate mutating func table(_ key: String) -> TOMLTable? {
    guard let entry = entry(key) else { return nil }
    guard case .table(let table) = entry.value else {
      note(entry.line, "`\(key)` is a table, written [\(key)], not \(entry.value.kind)")
      return nil
    }
    return table
  }

  /// Any number of tables.
  fileprivate mutating func tables(_ key: String) -> [TOMLTable] {
    guard let entry = entry(key) else { return [] }
    guard case .tables(let tables) = entry.value else {
      note(entry.line, "`\(key)` is an array of tables, each written [[\(key)]], not \(entry.value.kind)")
      return []
    }
    return tables
  }
}

/// What an environment may be called: it is shown before every line it writes.
private func parseName(_ text: String) throws -> String {
  guard !text.isEmpty, text.utf8.count <= 64,
    text.utf8.allSatisfy({ isNameByte($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") })
  else { throw ValidationError("a name is made of letters, digits, _, - and ., not `\(text)`") }
  return text
}

private func parseNetwork(_ text: String) throws -> NetworkChoice {
  guard let choice = NetworkChoice(argument: text) else {
    throw ValidationError("a network is \(NetworkChoice.form), not `\(text)`")
  }
  return choice
}

/// What a share may be called: it is part of a variable's name, in capitals.
private func parseShareName(_ text: String) throws -> String {
  guard !text.isEmpty, text.utf8.count <= 64, text.utf8.allSatisfy(isNameByte) else {
    throw ValidationError("a share's name is made of letters, digits and _, not `\(text)`")
  }
  return text.uppercased()
}

private func isNameByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
    true
  default: false
  }
}

/// `r`, `rw`, `rx` or `rwx`.
private func parseRights(_ text: String) throws -> Rights {
  let letters: [Character: Rights] = ["r": .read, "w": .write, "x": .execute]
  var rights: Rights = []
  for letter in text {
    guard let right = letters[letter], !rights.contains(right) else {
      throw ValidationError("rights are r, rw, rx or rwx, not `\(text)`")
    }
    rights.insert(right)
  }
  guard rights.contains(.read) else {
    throw ValidationError("rights are r, rw, rx or rwx, not `\(text)`: whoever writes or executes also reads")
  }
  return rights
}

extension HostFileError {
  /// For a file that is no image.
  fileprivate var ofText: String {
    switch self {
    case .directory: "a directory"
    default: description
    }
  }
}
