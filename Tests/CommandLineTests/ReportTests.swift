import JSONText
import TestSupport
import Testing

extension ExorunTests {
  @Suite struct Reports {
    let scratch = Scratch()

    private func report(_ words: String...) throws -> JSON {
      let path = scratch.file("report.json")
      _ = try Command.exorun(["launch", "--report", path] + words).run()
      return try JSON(parsing: readText(path) ?? "")
    }

    @Test(.requires(.kvm)) func howItEndedAndWhatItUsed() throws {
      let report = try report("hello", "x")
      #expect(report["guest"] == .string("hello"))
      #expect(report["arguments"] == .array([.string("x")]))
      #expect(report["ending"] == .string("exited"))
      #expect(report["exitCode"] == .number(0))
      #expect(report["status"] == .number(0))
      #expect(report["exocalls"]?["exit"] == .number(1))
      #expect((report["exocalls"]?["console_write"]?.number ?? 0) >= 1)
      #expect((report["guestMicroseconds"]?.number ?? 0) > 0)
      #expect((report["framesPeak"]?.number ?? 0) > 64)
      let steps = report["startup"]?.array ?? []
      #expect(steps.contains { $0["step"] == .string("vm") })
      let sum = steps.compactMap { $0["microseconds"]?.number }.reduce(0, +)
      #expect(abs(sum - (report["startupMicroseconds"]?.number ?? 0)) < 2)
    }

    @Test(.requires(.kvm)) func itTellsApartWhatSharesANumber() throws {
      #expect(try report("crash", "panic")["ending"] == .string("exited"))
      let fault = try report("crash")
      #expect(fault["ending"] == .string("faulted"))
      #expect(fault["fault"]?["mnemonic"] == .string("#PF"))
      #expect(fault["exceptions"]?["#PF"] == .number(1))
      let top = fault["fault"]?["backtrace"]?.array?.first
      #expect(top?["function"]?.string?.contains("writeTo") == true)
      #expect(top?["file"]?.string?.hasSuffix("Crash.swift") == true)
      #expect((top?["line"]?.number ?? 0) > 0)
      #expect(
        try report("--time-limit", "100ms", scratch.file("g", TinyImage.spinning.bytes))["ending"]
          == .string("timeLimit"))
    }

    @Test func aGuestThatDidNotStartIsReportedToo() throws {
      let report = try report("nobody")
      #expect(report["ending"] == .string("notStarted"))
      #expect(report["exitCode"] == .number(127))
      #expect(report["message"]?.string?.contains("nobody") == true)
    }

    @Test(.requires(.kvm)) func standardErrorAndBothForms() throws {
      let text = try Command.exorun("launch", "--report", "-", "hello").run()
      #expect(text.output == "Hello from an environment of its own.\n")
      #expect(text.errors.contains("ended      exited with 0, exit code 0\n"))
      let json = try Command.exorun("launch", "--report", "-", "--report-format", "json", "hello").run()
      #expect(try JSON(parsing: json.errors)["exitCode"] == .number(0))
      let path = scratch.file("report.json")
      _ = try Command.exorun("launch", "--report=\(path)", "--report-format", "text", "hello").run()
      #expect(readText(path)?.hasPrefix("guest      hello\n") == true)
    }

    @Test(.requires(.kvm)) func aReportThatCannotBeWrittenIs125() throws {
      try expectComplaint(125, "cannot be written", .exorun("launch", "--report", scratch.path, "hello"))
      let full = try Command.exorun("launch", "--report", "/dev/full", "hello").run()
      #expect(full.status == .exited(125))
      #expect(full.errors.contains("/dev/full: the report cannot be written"))
    }
  }

  @Suite(.requires(.kvm)) struct FaultReports {
    @Test func itSaysWhatHappenedWhereAndHowItCameThere() throws {
      let result = try Command.exorun("launch", "crash").run()
      #expect(result.status == .exited(139))
      let lines = result.errors.split(separator: "\n")
      #expect(lines.first?.hasPrefix("exorun: crash (environment 1): page fault (#PF) at 0x") == true)
      #expect(lines.first?.contains(": write, nothing mapped; in ") == true)
      #expect(lines.first?.contains("writeTo(UInt) + ") == true)
      #expect(lines.first?.contains(" at Crash.swift:") == true)
      #expect(lines.contains { $0.contains("rax ") && $0.contains("rdx ") })
      #expect(lines.contains { $0.contains("rip ") && $0.contains("flags ") })
      #expect(lines.contains { $0.contains("error code 6, code at rip: ") })
      for function in ["inner", "middle", "outer", "crash"] {
        #expect(lines.contains { $0.contains("  #") && $0.contains(".\(function)(") })
      }
      #expect(!result.errors.contains("\u{1b}"))
    }

    @Test func aSwiftTrapGivesItsReason() throws {
      let result = try Command.exorun("launch", "crash", "trap").run()
      #expect(result.status == .exited(132))
      #expect(result.errors.contains("Index out of range"))
    }

    @Test(arguments: [("", true), ("1", false)]) func colourOnATerminalUnlessNoColor(
      noColor: String, isColoured: Bool
    ) throws {
      var command = Command.exorun("launch", "crash")
      command.onTerminal = true
      command.variables["NO_COLOR"] = noColor
      #expect(try command.run().output.contains("\u{1b}[") == isColoured)
    }
  }
}
