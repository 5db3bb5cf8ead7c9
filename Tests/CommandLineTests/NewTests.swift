import TestSupport
import Testing

extension ExorunTests {
  /// `exorun new`: what it makes and what it refuses. That it builds and runs is Scripts/kit-test's.
  @Suite struct New {
    @Test func namesAreChecked() throws {
      let folder = try TemporaryFolder()
      for name in ["9x", "a/b", "..", "a b", "näme", "-", "x.y", "LibOS", "exo", "Swift", "class"] {
        try expectComplaint(125, "cannot name a package", new(in: folder, "--", name))
      }
      try expectComplaint(125, "what the package is to be called", new(in: folder, ""))
      try expectComplaint(125, "more than 64", new(in: folder, String(repeating: "x", count: 65)))
      try expectComplaint(125, "Missing", new(in: folder))
      #expect(try folder.list() == "")
    }

    @Test func whatIsThereStays() throws {
      let folder = try TemporaryFolder()
      let first = try new(in: folder, "mine", "--url", "https://example.org/exo").run()
      #expect(first.status == .exited(0), "\(first.errors)")
      #expect(first.output.contains("swift build -c release"))
      let before = try folder.list()
      #expect(
        before
          == "mine mine/.gitignore mine/Package.swift mine/Sources mine/Sources/mine mine/Sources/mine/Guest.swift"
      )
      try expectComplaint(125, "mine: ", new(in: folder, "mine", "--url", "https://example.org/exo"))
      #expect(try folder.list() == before)
    }

    @Test func aPlaceThatCannotBeWrittenIsTold() throws {
      let folder = try TemporaryFolder(at: "/proc/self")
      try expectComplaint(125, "mine: ", new(in: folder, "mine", "--url", "https://example.org/exo"))
    }

    @Test func exoMustBeThere() throws {
      let folder = try TemporaryFolder()
      try expectComplaint(125, "no checkout of Exo", new(in: folder, "mine", "--path", "nowhere"))
      try expectComplaint(125, "no checkout of Exo", new(in: folder, "mine", "--path", "/"))
      try expectComplaint(125, "no URL", new(in: folder, "mine", "--url", "nowhere"))
      try expectComplaint(
        125, "one of them", new(in: folder, "mine", "--url", "https://example.org/exo", "--path", "/"))
      try expectComplaint(
        125, "Exo's own package", new(in: folder, "other", "--url", "https://example.org/Other.git"))
    }

    /// Every target of the manifest is a name that no guest's package may have.
    @Test func exosOwnNamesAreTaken() throws {
      let folder = try TemporaryFolder()
      let manifest = try Command("/bin/cat", [packageFolder + "/Package.swift"]).run().output
      var names: Set<Substring> = []
      for start in [
        "arget(\n      name: \"", "arget(\n    name: \"", "arget(name: \"", "guest(\"",
        ".plugin(\n      name: \"",
      ] {
        for part in manifest.split(separator: start).dropFirst() {
          let name = part.prefix { $0 != "\"" }
          if !name.contains("\\") { names.insert(name) }
        }
      }
      // The modules of ExOS, and each for the host.
      for part in manifest.split(separator: "exos(\"").dropFirst() {
        let module = part.prefix { $0 != "\"" }
        for name in ["Exos\(module)", "Exos\(module)Host"] { names.insert(name[...]) }
      }
      #expect(
        names.count > 50 && names.contains("ExosIPCHost") && names.contains("BenchProducts")
          && names.contains("LibOS") && names.contains("GuestHello"))
      for name in names.sorted() {
        try expectComplaint(125, "uses that name", new(in: folder, String(name)))
      }
    }

    private func new(in folder: borrowing TemporaryFolder, _ words: String...) -> Command {
      folder.exorun(["new"] + words)
    }
  }

  /// Man pages, installing and taking away.
  @Suite struct Installing {
    @Test func manPagesSayWhatHelpSays() throws {
      let folder = try TemporaryFolder()
      #expect(try Command.exorun("manual", folder.path).run().status == .exited(0))
      let help = try Command.exorun("--help").run().output
      let commands = help.split(separator: "\n").drop { $0 != "SUBCOMMANDS:" }.dropFirst()
        .filter { $0.hasPrefix("  ") && !$0.hasPrefix("   ") && !$0.hasPrefix("  See ") }
        .compactMap { $0.split(separator: " ").first.map(String.init) }
      #expect(commands.count >= 11 && commands.contains("launch"))
      #expect(
        try folder.list().split(separator: " ").map(String.init)
          == (["exorun.1"] + commands.map { "exorun-\($0).1" }).sorted())
      for command in [""] + commands {
        let page = folder.path + "/exorun" + (command.isEmpty ? "" : "-\(command)") + ".1"
        let text = try Command("/bin/cat", [page]).run().output.replacing("\\-", with: "-")
        let help = try Command.exorun(command.isEmpty ? ["--help"] : [command, "--help"]).run().output
        #expect(text.hasPrefix(".TH EXORUN"))
        // Options as `--help` heads its lines with them, and as the page does.
        let told = help.split(separator: "\n").filter { $0.hasPrefix("  -") }.map { options(in: $0) }
        let written = text.split(separator: "\n").filter { $0.hasPrefix("\\fB-") }.map { options(in: $0) }
        #expect(told == written, "\(command)")
        #expect(!told.isEmpty)
        let overview = help.split(separator: "\n").first?.replacing("OVERVIEW: ", with: "") ?? ""
        // Help breaks lines, a page leaves that to its reader.
        #expect(text.contains(" - \(overview)"), "\(command): \(overview)")
      }
    }

    /// The names of options in a line, without their values and what follows.
    private func options(in line: Substring) -> [String] {
      let plain = line.replacing("\\fB", with: "").replacing("\\fR", with: "").replacing("\\fI", with: "<")
      return plain.split(separator: " ").prefix { $0.hasPrefix("-") }
        .map { String($0.prefix { $0 != "," && $0 != "/" }) }
    }

    @Test func installsAndTakesAwayAgain() throws {
      let folder = try TemporaryFolder()
      let prefix = folder.path + "/some where"
      let script = packageFolder + "/Scripts/install"
      let install = ["--prefix", prefix, "--exorun", Command.productDirectory + "/exorun"]
      #expect(try Command(script, ["--prefix", prefix, "--uninstall"]).run().status == .exited(1))
      for _ in 0..<2 {
        let result = try Command(script, install).run()
        #expect(result.status == .exited(0), "\(result.errors)")
      }
      let installed = try folder.list()
      for file in ["bin/exorun", "man1/exorun-launch.1", "completions/exorun", "_exorun", "exorun.fish"] {
        #expect(installed.contains(file), "\(installed)")
      }
      #expect(try Command(prefix + "/bin/exorun", ["--version"]).run().output.hasPrefix("exorun "))
      // Somebody else's file stays.
      _ = try Command("/usr/bin/touch", [prefix + "/bin/other"]).run()
      #expect(try Command(script, ["--prefix", prefix, "--uninstall"]).run().status == .exited(0))
      let left = try Command("/usr/bin/find", [prefix, "-type", "f"]).run().output
      #expect(left == prefix + "/bin/other\n")
      #expect(try Command(script, ["--fly"]).run().status == .exited(2))
    }
  }

  /// docs/embedding.md and the program it explains.
  @Suite struct Embedding {
    @Test func thePageIsTheProgram() throws {
      let page = try Command("/bin/cat", [packageFolder + "/docs/embedding.md"]).run().output
      let program = try Command("/bin/cat", [packageFolder + "/Examples/embedding/Embedding.swift"]).run()
        .output
      let pieces = page.split(separator: "```swift\n").dropFirst().compactMap {
        $0.split(separator: "```").first
      }
      let own = pieces.filter { !$0.hasPrefix("// swift-tools-version") }
      #expect(own.count == 4)
      for piece in own {
        let indented = piece.split(separator: "\n", omittingEmptySubsequences: false)
          .map { $0.isEmpty ? "" : "    \($0)" }.joined(separator: "\n")
        #expect(program.contains(indented), "\(piece)")
      }
    }

    @Test(.requires(.kvm)) func itRunsAGuest() throws {
      let images = ["GuestC", "GuestC-tool"].map { "\(Command.productDirectory)/\($0)" }
      let image = try #require(
        try images.first { try Command("/usr/bin/test", ["-f", $0]).run().status == .exited(0) })
      let result = try Command(Command.productDirectory + "/EmbeddingExample", [image]).run()
      #expect(result.status == .exited(0))
      #expect(result.output.hasPrefix("exited with 0\n"), "\(result.output)")
      #expect(result.output.contains("line: a question\n"))
      let other = try Command(Command.productDirectory + "/EmbeddingExample", ["/etc/passwd"]).run()
      #expect(other.output.hasPrefix("not an image that can run: "))
    }
  }
}

/// The package's own folder.
private let packageFolder = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

/// A folder that goes away with its owner.
private struct TemporaryFolder: ~Copyable {
  let path: String
  private let isOwn: Bool

  init() throws {
    path = try String(Command("/bin/mktemp", ["-d"]).run().output.dropLast())
    isOwn = true
  }
  /// One that is there and stays.
  init(at path: String) throws {
    self.path = path
    isOwn = false
  }
  deinit { if isOwn { _ = try? Command("/bin/rm", ["-rf", path]).run() } }

  /// What lies in it, sorted.
  func list() throws -> String {
    let script = "cd \"$1\" && find . -mindepth 1 | cut -c3- | LC_ALL=C sort | tr '\\n' ' ' | sed 's/ $//'"
    return try Command("/bin/sh", ["-c", script, "sh", path]).run().output
  }

  /// exorun, started there.
  func exorun(_ words: [String]) -> Command {
    var command = Command.exorun(words)
    command.arguments = ["-c", "cd \"$1\" && shift && exec \"$@\"", "sh", path, command.path] + words
    command.path = "/bin/sh"
    return command
  }
}
