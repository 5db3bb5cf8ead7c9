import JSONText
import TestSupport
import Testing

/// The commands that tell whether all is well.
extension ExorunTests {
  @Suite(.requires(.kvm)) struct SelftestTests {
    @Test func itEndsWithACountAndSaysWhatFailed() throws {
      let result = try Command.exorun("selftest", "hello", "crash").run()
      #expect(result.status == .exited(0))
      #expect(result.output.split(separator: "\n").last == "9 passed, 0 failed")
      let json = try JSON(parsing: try Command.exorun("selftest", "--json", "hello").run().output)
      #expect(json["failed"] == .number(0))
      #expect(json["trials"]?.array?.count == 2)
    }

    @Test func withoutKVMItSaysSoOnce() throws {
      try expectComplaint(125, "no KVM at", .exorun("selftest", "--device", "/dev/no-kvm"))
    }
  }

  @Suite struct DoctorTests {
    @Test(.requires(.kvm)) func itFindsThatGuestsRunAndMeasures() throws {
      let result = try Command.exorun("doctor", "--json").run()
      #expect(result.status == .exited(0))
      let json = try JSON(parsing: result.output)
      #expect(json["canRun"] == .bool(true))
      let findings = json["findings"]?.array ?? []
      func finding(_ name: String) -> JSON? { findings.first { $0["name"] == .string(name) } }
      for name in [
        "kvm", "capabilities", "memory", "huge pages", "network", "guests", "substrate", "SYSCALL",
      ] {
        let state = finding(name)?["state"]?.string ?? ""
        #expect(["ok", "degraded", "missing"].contains(state), "\(name)")
      }
      for name in ["direct gates", "exits"] {
        #expect((finding(name)?["figures"]?["nanoseconds"]?.number ?? 0) > 0, "\(name)")
      }
      #expect((finding("substrate")?["figures"]?["ring0Cycles"]?.number ?? 0) > 0)
    }

    @Test(.requires(.kvm)) func itsTextHasALineForEach() throws {
      let lines = try Command.exorun("doctor").run().output.split(separator: "\n")
      #expect(lines.last == "Guests can run here.")
      for line in lines.dropLast() {
        #expect(["ok ", "degraded ", "missing ", "          -> "].contains { line.hasPrefix($0) }, "\(line)")
      }
    }

    /// That they pass is the self-test's affair: here others run at the same time.
    @Test(.requires(.kvm)) func deepDownItTriesEveryMechanism() throws {
      let result = try Command.exorun("doctor", "--deep", "--json").run()
      let findings = try JSON(parsing: result.output)["findings"]?.array ?? []
      let tried = findings.filter {
        ["pass: ", "fail: "].contains(String($0["detail"]?.string?.prefix(6) ?? ""))
      }
      #expect(tried.count == 14, "\(result.output)")
      #expect(tried.allSatisfy { $0["detail"]?.string != "pass: 0 of 0" })
      #expect(result.status == .exited(0))
    }

    @Test func withoutKVMItSaysWhatToDo() throws {
      let result = try Command.exorun("doctor", "--device", "/dev/no-kvm").run()
      #expect(result.status == .exited(1))
      #expect(
        result.output.contains("missing   kvm                         there is no KVM at /dev/no-kvm\n"))
      #expect(result.output.contains("-> type `sudo modprobe"))
      #expect(result.output.hasSuffix("Guests cannot run here.\n"))
    }
  }
}
