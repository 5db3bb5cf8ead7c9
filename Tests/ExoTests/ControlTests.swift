import Glibc
import JSONText
import Testing

@testable import Exo

/// The control socket's requests and its folder. What answers them runs in the command line's tests.
@Suite struct ControlTests {
  private func request(_ text: String) throws(ControlRefusal) -> ControlRequest {
    try ControlRequest(text.utf8)
  }

  @Test func requestsAreRead() throws {
    #expect(try request(#"{"exo":1,"do":"snapshot"}"#) == .snapshot)
    #expect(
      try request(#" {"do":"kill","environment":3,"exo":1,"later":"addition"} "#) == .kill(EnvironmentID(3)))
    #expect(try request(#"{"exo":1,"do":"trace"}"#) == .trace(Set(TraceEvent.Category.allCases), of: nil))
    #expect(
      try request(#"{"exo":1,"do":"trace","events":["slice","fault"],"environments":[1,4294967295]}"#)
        == .trace([.slice, .fault], of: [EnvironmentID(1), EnvironmentID(.max)]))
  }

  @Test(arguments: [
    ("", "malformed"), ("{", "malformed"), ("[]", "malformed"), ("{}", "version"),
    (#"{"exo":2,"do":"snapshot"}"#, "version"), (#"{"exo":-1,"do":"snapshot"}"#, "version"),
    (#"{"exo":1.5}"#, "version"), (#"{"exo":"1"}"#, "version"), (#"{"exo":1}"#, "bad-argument"),
    (#"{"exo":1,"do":7}"#, "bad-argument"), (#"{"exo":1,"do":"reboot"}"#, "unknown-request"),
    (#"{"exo":1,"do":"kill"}"#, "bad-argument"), (#"{"exo":1,"do":"kill","environment":0}"#, "bad-argument"),
    (#"{"exo":1,"do":"kill","environment":4294967296}"#, "bad-argument"),
    (#"{"exo":1,"do":"kill","environment":"1"}"#, "bad-argument"),
    (#"{"exo":1,"do":"kill","environment":1e300}"#, "bad-argument"),
    (#"{"exo":1,"do":"trace","events":[]}"#, "bad-argument"),
    (#"{"exo":1,"do":"trace","events":["everything"]}"#, "bad-argument"),
    (#"{"exo":1,"do":"trace","environments":3}"#, "bad-argument"),
  ])
  func whatIsNoRequestIsRefused(text: String, code: String) {
    do throws(ControlRefusal) {
      let found = try request(text)
      Issue.record("\(text) was taken for \(found)")
    } catch {
      #expect(error.code == code)
      #expect(!error.text.isEmpty)
    }
  }

  @Test func nothingThatArrivesTraps() {
    var generator = SystemRandomNumberGenerator()
    let seed = Array(#"{"exo":1,"do":"trace","events":["slice"],"environments":[1,2]}"#.utf8)
    for _ in 0..<20_000 {
      var bytes = seed
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        switch UInt8.random(in: 0..<3, using: &generator) {
        case 0: bytes[place] = generator.next()
        case 1: bytes.insert(generator.next(), at: place)
        default: if bytes.count > 1 { bytes.remove(at: place) }
        }
      }
      _ = try? ControlRequest(bytes)
    }
    _ = try? ControlRequest(Array(repeating: UInt8(ascii: "["), count: ControlRequest.limit))
  }

  @Test func everyRecordIsOneLineOfJSON() throws {
    let events: [TraceEvent] = [
      .created(by: EnvironmentID(1)), .started, .ended(.timeLimit, status: 0), .sliceBegan(length: 1),
      .sliceEnded(.yields, excess: 2), .guest(.serve), .exocall(0, result: -9), .exocall(60_000, result: nil),
      .posted(kind: 9, data: 1, value: 2), .fault(ExceptionVector(200), address: 3),
    ]
    for event in events {
      let record = TraceRecord(time: 100, duration: 5, lane: 1, environment: EnvironmentID(2), event: event)
      let line = ControlAnswers.record(record, since: 40, name: "a \"quoted\"\nname")
      #expect(line.last == 0x0a && !line.dropLast().contains(0x0a))
      let json = try JSON(parsing: String(decoding: line, as: UTF8.self))
      #expect(json["t"]?.count == 60)
      #expect(json["event"]?.string == event.category.name)
    }
  }

  // --- the folder

  private final class Place {
    let path: String
    init() {
      var template = Array("/tmp/exo-control-XXXXXX".utf8CString)
      path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
    }
    deinit {
      for name in ["folder/1.sock", "folder/gone.sock", "folder", "link"] { remove("\(path)/\(name)") }
      rmdir(path)
    }
  }

  private struct Missing: Error {}

  private func mode(_ path: String) -> UInt32 {
    var status = stat()
    return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
  }

  @Test func theFolderAndTheSocketAreTheUsersAlone() throws {
    let place = Place()
    let before = umask(0)
    defer { umask(before) }
    if try ControlFolder("\(place.path)/folder", making: false) != nil {
      Issue.record("there is one already")
    }
    guard let folder = try ControlFolder("\(place.path)/folder", making: true) else { throw Missing() }
    #expect(mode("\(place.path)/folder") == 0o700)
    let (socket, name) = try folder.listen()
    defer { close(socket) }
    #expect(name == "\(getpid())")
    #expect(mode("\(place.path)/folder/\(name).sock") == 0o600)
    #expect(folder.machines == [name])
    // A second one of this process has another name, and the first keeps its own.
    let (other, second) = try folder.listen()
    defer { close(other) }
    #expect(second == "\(getpid())-2")
    close(try folder.connect(to: name))
    folder.remove(name)
    folder.remove(second)
    #expect(folder.machines == [])
  }

  @Test func aSocketThatNobodyServesIsRemoved() throws {
    let place = Place()
    guard let folder = try ControlFolder("\(place.path)/folder", making: true) else { throw Missing() }
    let (socket, name) = try folder.listen()
    close(socket)
    #expect(folder.machines == [name])
    #expect(throws: ControlError.noSuchMachine(name)) { _ = try folder.connect(to: name) }
    #expect(folder.machines == [])
    // One in the way of a new machine of the same number goes too.
    close(try folder.listen().socket)
    let (again, sameName) = try folder.listen()
    #expect(sameName == name)
    close(again)
    folder.remove(name)
  }

  @Test func aFolderThatOthersCouldUseIsNotUsed() throws {
    let place = Place()
    let path = "\(place.path)/folder"
    mkdir(path, 0o700)
    chmod(path, 0o755)
    #expect(throws: ControlError.openFolder(path: path, mode: 0o755)) {
      _ = try ControlFolder(path, making: true)
    }
    chmod(path, 0o700)
    symlink(path, "\(place.path)/link")
    #expect(throws: ControlError.self) { _ = try ControlFolder("\(place.path)/link", making: true) }
    if geteuid() == 0 {
      chown(path, 65_534, 65_534)
      #expect(throws: ControlError.foreignFolder(path: path, owner: 65_534)) {
        _ = try ControlFolder(path, making: true)
      }
    }
  }

  @Test(arguments: ["", ".", "..", "../folder", "a/b", ".hidden", String(repeating: "x", count: 100)])
  func aNameLeadsNowhereElse(name: String) throws {
    let place = Place()
    guard let folder = try ControlFolder("\(place.path)/folder", making: true) else { throw Missing() }
    #expect(throws: ControlError.noSuchMachine(name)) { _ = try folder.connect(to: name) }
  }
}
