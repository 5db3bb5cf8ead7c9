import TestSupport
import Testing

extension ExorunTests {
  /// Who gets which word.
  @Suite struct Grammar {
    @Test(.requires(.kvm)) func everythingAfterTheGuestIsTheGuests() throws {
      let words = [
        "--memory", "1G", "--help", "-h", "--version", "--", "-v", "--generate-completion-script", "bash", "",
      ]
      let expected = ["Hello from an environment of its own."] + words
      for start in [
        ["launch", "hello"], ["launch", "--", "hello"], ["launch", "--memory=32M", "-v", "hello"],
      ] {
        let result = try Command.exorun(start + words).run()
        #expect(result.status == .exited(0))
        #expect(result.output == expected.map { $0 + "\n" }.joined())
      }
    }

    @Test(.requires(.kvm)) func optionsComeBeforeTheGuest() throws {
      let result = try Command.exorun(
        "launch", "--env", "A=1", "--env", "B=-v", "--time-limit", "1m", "--memory", "32MiB", "--log-level",
        "error", "hello"
      ).run()
      #expect(result.status == .exited(0))
      let verbose = try Command.exorun("launch", "-v", "hello").run()
      #expect(verbose.errors.contains("exorun: debug: launched hello"))
    }

    @Test func whatCannotBeUnderstoodIs125() throws {
      try expectComplaint(125, "exorun --help", .exorun([]))
      try expectComplaint(125, "Unexpected argument 'fly'", .exorun("fly"))
      try expectComplaint(125, "`exorun guests`", .exorun("launch"))
      try expectComplaint(125, "no option `--fly`", .exorun("launch", "--fly", "hello"))
      try expectComplaint(125, "Missing value", .exorun("launch", "--memory"))
      try expectComplaint(125, "unit of memory", .exorun("launch", "--memory", "3X", "hello"))
      try expectComplaint(125, "amount of memory", .exorun("launch", "--memory", "M", "hello"))
      try expectComplaint(125, "span of time", .exorun("launch", "--time-limit", "ms", "hello"))
      try expectComplaint(125, "unit of time", .exorun("launch", "--time-limit", "3x", "hello"))
      try expectComplaint(125, "longer than 0", .exorun("launch", "--time-limit", "0s", "hello"))
      try expectComplaint(125, "NAME=value", .exorun("launch", "--env", "NAME", "hello"))
      try expectComplaint(125, "NAME=value", .exorun("launch", "--env", "=value", "hello"))
      try expectComplaint(125, "--log-level", .exorun("launch", "--log-level", "loud", "hello"))
      try expectComplaint(127, "`nobody`", .exorun("selftest", "nobody"))
    }

    @Test(arguments: [
      ["--help"], ["help", "launch"], ["launch", "--help"], ["launch", "-h"], ["guests", "--help"],
      ["ps", "--help"], ["top", "--help"], ["trace", "--help"], ["kill", "--help"],
    ])
    func helpIsGiven(words: [String]) throws {
      let result = try Command.exorun(words).run()
      #expect(result.status == .exited(0))
      #expect(result.output.contains("USAGE: exorun"))
      #expect(result.errors == "")
    }

    @Test func theVersionIsGiven() throws {
      let result = try Command.exorun("--version").run()
      #expect(result.status == .exited(0))
      #expect(result.output.wholeMatch(of: /exorun [0-9]+\.[0-9]+\.[0-9]+\n/) != nil)
    }

    @Test(arguments: ["bash", "zsh", "fish"]) func shellsAreToldHowToComplete(shell: String) throws {
      let result = try Command.exorun("--generate-completion-script", shell).run()
      #expect(result.status == .exited(0))
      for word in ["launch", "time-limit", "hello", "selftest"] { #expect(result.output.contains(word)) }
    }

    @Test func guestsAreListedOneALine() throws {
      let lines = try Command.exorun("guests").run().output.split(separator: "\n")
      #expect(lines.contains { $0.hasPrefix("hello ") })
      #expect(lines.contains { $0.hasPrefix("crash ") })
      #expect(lines.count >= 5)
    }
  }
}
