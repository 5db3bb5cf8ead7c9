import Glibc
import TestSupport
import Testing

/// `exorun up` as people use it.
@Suite(.serialized) struct UpCommandTests {
  /// A folder with files in it, gone at the end.
  private final class Folder {
    let path: String
    init() {
      var template = Array("/tmp/exo-up-XXXXXX".utf8CString)
      path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
    }
    deinit { _ = try? Command("/bin/rm", ["-rf", path]).run() }

    func file(_ name: String, _ text: String) throws -> String {
      let full = "\(path)/\(name)"
      let file = try #require(fopen(full, "w"))
      fputs(text, file)
      fclose(file)
      return full
    }
  }

  private func up(_ text: String, _ change: (inout Command) -> Void = { _ in }) throws -> CommandResult {
    let folder = Folder()
    var command = Command.exorun("up", try folder.file("up.toml", text))
    change(&command)
    return try command.run()
  }

  private func environment(_ name: String, _ image: String, _ more: String = "") -> String {
    "[[environment]]\nname = \"\(name)\"\nimage = \"\(image)\"\n\(more)\n"
  }

  @Test func everyMistakeIsToldWithItsLine() throws {
    let folder = Folder()
    let path = try folder.file(
      "up.toml",
      """
      [machine]
      memory = "64X"
      processors = 0
      colour = true
      [[environment]]
      name = "a"
      image = "nosuch"
      [[environment]]
      name = "a"
      image = 7
      time-limit = "soon"
      arguments = ["x",
        3]
      bindings = -1
      stdin = "missing.txt"
      [[environment]]
      name = "b"
      image = "./up.toml"
      memory = 5000
      wrong =
      [environment.variables]
      A = 1
      EXO_SHARE_X = "q"
      [[environment]]
      image = "hello"
      [[share]]
      name = "s s"
      pages = 0
      from = "a"
      to = "a"
      rights = "w"
      [[share]]
      name = "t"
      [other]
      """)
    let result = try Command.exorun("up", path).run()
    #expect(result.status == .exited(125))
    #expect(result.output == "")
    let lines = result.errors.split(separator: "\n").map(String.init)
    let told = lines.dropLast().map { line in
      line.hasPrefix("\(path):") ? Int(line.dropFirst(path.count + 1).prefix { $0.isNumber }) ?? 0 : 0
    }
    let expected = [
      2, 3, 4, 7, 9, 10, 11, 13, 14, 15, 18, 19, 20, 22, 23, 24, 27, 28, 30, 31, 32, 32, 32, 32, 34,
    ]
    #expect(told == expected, "\(result.errors)")
    #expect(lines.last == "exorun: \(path): \(expected.count) mistakes, nothing was started")
  }

  @Test(
    arguments: [
      ("", "1: the file describes no [[environment]]"),
      ("[[environment]]\nname = 'a'", "1: [[environment]] lacks `image`"),
      (
        "environment = 1",
        "1: `environment` is an array of tables, each written [[environment]], not an integer"
      ),
      (
        "[[environment]]\nname = 'a b'\nimage = 'hello'",
        "2: `name`: a name is made of letters, digits, _, - and ., not `a b`"
      ),
      (
        "[[environment]]\nname = 'a'\nimage = 'hello'\n[[share]]\nname = 's'\npages = 1\nfrom = 'a'\nto = 'z'\nrights = 'r'",
        "8: `to`: no environment is called `z`"
      ),
    ] as [(String, String)])
  func oneMistake(text: String, message: String) throws {
    let result = try up(text)
    #expect(result.status == .exited(125))
    #expect(result.errors.contains("up.toml:\(message)\n"), "\(result.errors)")
    #expect(result.errors.contains(": 1 mistake, nothing was started\n"), "\(result.errors)")
  }

  @Test func aFileThatIsNotThereIsTold() throws {
    for path in ["/nonexistent/up.toml", "/tmp"] {
      let result = try Command.exorun("up", path).run()
      #expect(result.status == .exited(125))
      #expect(result.errors.hasPrefix("exorun: \(path): "), "\(result.errors)")
    }
  }

  @Test(.requires(.kvm)) func twoEnvironmentsShareFrames() throws {
    let result = try up(
      environment("writer", "share", "arguments = ['write', 'BUFFER']")
        + environment("reader", "share", "arguments = ['read', 'BUFFER']")
        + "[[share]]\nname = 'buffer'\npages = 4\nfrom = 'writer'\nto = 'reader'\nrights = 'rw'")
    #expect(result.status == .exited(0))
    #expect(result.errors == "")
    let lines = result.output.split(separator: "\n").map(String.init)
    #expect(
      lines.filter { $0.hasPrefix("writer | ") } == [
        "writer | 4 pages, rights rwx", "writer | written", "writer | answered",
      ])
    #expect(
      lines.filter { $0.hasPrefix("reader | ") } == [
        "reader | 4 pages, rights rw-", "reader | read, 0 words wrong",
      ])
    #expect(lines.count == 5)
  }

  @Test(.requires(.kvm)) func linesAreWholeAndLabelled() throws {
    let folder = Folder()
    let long = String(repeating: "x", count: 10_000)
    _ = try folder.file("in.txt", (0..<2000).map { "line \($0)\n" }.joined() + long)
    let path = try folder.file(
      "up.toml", environment("a", "cat", "stdin = 'in.txt'") + environment("b", "cat", "stdin = 'in.txt'"))
    let result = try Command.exorun("up", path).run()
    #expect(result.status == .exited(0))
    for name in ["a", "b"] {
      let lines = result.output.split(separator: "\n").filter { $0.hasPrefix("\(name) | ") }.map {
        String($0.dropFirst(4))
      }
      #expect(lines.count == 2002)
      #expect(Array(lines.prefix(2000)) == (0..<2000).map { "line \($0)" })
      #expect(lines.suffix(2).joined() == long)
    }
  }

  @Test(.requires(.kvm)) func theCodeIsThatOfTheFirstThatFailed() throws {
    let result = try up(
      environment("good", "hello")
        + environment("slow", "family", "arguments = ['stops']\ntime-limit = '1ms'")
        + environment("crash", "crash"))
    #expect(result.status == .exited(124))
    #expect(result.errors.contains("exorun: slow (environment 2): ended at its time limit of 1 ms\n"))
    #expect(result.errors.contains("exorun: crash (environment 3): page fault"))
    let other = try up(environment("good", "hello") + environment("two", "crash", "arguments = ['what']"))
    #expect(other.status == .exited(2))
    #expect(other.errors == "exorun: two: exit 2\n")
  }

  @Test(.requires(.kvm)) func quotasAreTheFiles() throws {
    let poor = try up(environment("poor", "family", "arguments = ['computes']\nenvironments = 0"))
    #expect(poor.status == .exited(1))
    #expect(
      poor.output.contains("poor | FAILED computes: an exocall was refused: quota exceeded\n"),
      "\(poor.output)")
    let small = try up(environment("small", "hello", "memory = '64K'"))
    #expect(small.status == .exited(125))
    #expect(small.errors.contains("up.toml:1: small: the guest needs "), "\(small.errors)")
  }

  @Test(.requires(.kvm)) func aSignalEndsAll() throws {
    let folder = Folder()
    let path = try folder.file(
      "up.toml",
      environment("a", "share", "arguments = ['read', 'S']")
        + environment("b", "share", "arguments = ['read', 'S']")
        + "[[share]]\nname = 's'\npages = 1\nfrom = 'a'\nto = 'b'\nrights = 'rw'")
    let running = try Command.exorun("up", path).start()
    #expect(running.waitForOutput("a | 1 pages"))
    running.signal(SIGINT)
    let result = running.finish()
    #expect(result.status == .exited(130))
    #expect(result.errors == "")
  }

  @Test(.requires(.kvm)) func namesAreColouredOnATerminalOnly() throws {
    let coloured = try up(environment("a", "hello")) { $0.onTerminal = true }
    #expect(coloured.output.contains("\u{1b}[36ma |\u{1b}[0m Hello"), "\(coloured.output.debugDescription)")
    let plain = try up(environment("a", "hello")) {
      $0.onTerminal = true
      $0.variables["NO_COLOR"] = "1"
    }
    #expect(plain.output.hasPrefix("a | Hello"), "\(plain.output.debugDescription)")
  }
}
