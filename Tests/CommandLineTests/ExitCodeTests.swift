import ExoABI
import Glibc
import TestSupport
import Testing

extension ExorunTests {
  @Suite(.requires(.kvm)) struct ExitCodes {
    let scratch = Scratch()

    private func launch(_ image: TinyImage, _ options: String...) throws -> CommandResult {
      let path = scratch.file("guest", image.bytes)
      return try Command.exorun(["launch"] + options + [path]).run()
    }

    @Test func aGuestsOwnStatusIsPassedThrough() throws {
      let hello = try Command.exorun("launch", "hello").run()
      #expect(hello.status == .exited(0))
      #expect(hello.errors == "")
      #expect(try Command.exorun("launch", "crash", "otherwise").run().status == .exited(2))
      // Even where it looks like something else.
      #expect(try Command.exorun("launch", "crash", "panic").run().status == .exited(134))
    }

    @Test func misuseIs122() throws {
      // mov $doorbell + 0x100, %rax; movl $0, (%rax)
      var code: [UInt8] = [0x48, 0xb8]
      for i in 0..<8 { code.append(UInt8(truncatingIfNeeded: (exo_kit_doorbell + 0x100) >> UInt64(8 * i))) }
      code += [0xc7, 0x00, 0, 0, 0, 0]
      let result = try launch(TinyImage(code))
      #expect(result.status == .exited(122))
      #expect(
        result.errors.hasPrefix("exorun: ")
          && result.errors.contains("(environment 1): ended for misuse: write"))
      #expect(result.errors.filter { $0 == "\n" }.count == 1)
    }

    @Test func aTimeLimitIs124() throws {
      let result = try launch(.spinning, "--time-limit", "200ms")
      #expect(result.status == .exited(124))
      #expect(result.errors.contains("(environment 1): ended at its time limit of 200 ms\n"))
      // One that waits is ended as well as one that computes.
      let waiting = try Command.exorun("launch", "--time-limit", "200ms", "cat").reading(.waiting).run()
      #expect(waiting.status == .exited(124))
    }

    @Test(
      arguments: [
        ("#DE", [0x31, 0xc9, 0xf7, 0xf1], 8), ("#BP", [0xcc], 5), ("#UD", [0x0f, 0x0b], 4),
        ("#PF", [0x31, 0xc0, 0x88, 0x00], 11), ("#GP", [0xf4], 11),
        // pushf; orl $0x40000, (%rsp); popf; mov 1(%rsp), %eax
        ("#AC", [0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0x8b, 0x44, 0x24, 0x01], 7),
      ] as [(String, [UInt8], Int32)])
    func aFaultIs128AndItsSignal(name: String, code: [UInt8], signal: Int32) throws {
      let result = try launch(TinyImage(code))
      #expect(result.status == .exited(128 + signal))
      #expect(result.errors.contains("(\(name))"))
    }

    @Test func sizesOfMemoryThatCannotBeAre125() throws {
      try expectComplaint(125, "0 bytes", .exorun("launch", "--memory", "0", "hello"))
      try expectComplaint(
        125, "bytes of memory were asked for", .exorun("launch", "--memory", "4096T", "hello"))
      try expectComplaint(
        125, "whole pages", .exorun("launch", "--memory", "33M", "--memory", "4097K", "hello"))
      try expectComplaint(
        125, "needs", .exorun("launch", "--memory", "1M", scratch.file("big", tooBig().bytes)))
    }
    /// Two mebibytes of memory beyond what the file holds.
    private func tooBig() -> TinyImage {
      TinyImage([0xeb, 0xfe]).with([0, 0, 0x20, 0], at: TinyImage.Field.segmentMemorySize)
    }

    @Test func aKVMThatIsNotThereOrNotOursIs125() throws {
      try expectComplaint(125, "no KVM at", .exorun("launch", "--device", "/dev/no-kvm", "hello"))
      try expectComplaint(125, "no KVM at", .exorun("launch", "--device", "/dev/null", "hello"))
    }

    @Test func aGuestThatIsNotThereIs127() throws {
      try expectComplaint(127, "no guest is called `nobody`", .exorun("launch", "nobody"))
      try expectComplaint(127, "no such file", .exorun("launch", "./nobody"))
      try expectComplaint(127, "no such file", .exorun("launch", scratch.path + "/nobody"))
    }
  }

  /// Root may open everything, so exorun becomes somebody else.
  @Suite struct Permission {
    @Test(.requires(.program("setpriv", package: "util-linux"))) func aKVMThatMayNotBeOpenedIs125() throws {
      let scratch = Scratch()
      chmod(scratch.path, 0o755)
      let device = scratch.file("kvm", [])
      chmod(device, 0)
      // Where it was built need not be open to everybody.
      let copy = scratch.file("exorun")
      #expect(try Command("/bin/cp", [Command.exorun().path, copy]).run().status == .exited(0))
      var words = ["launch", "--device", device, "hello"]
      if geteuid() == 0 { words = ["--reuid", "65534", "--clear-groups", copy] + words }
      let command = Command(geteuid() == 0 ? "/usr/bin/setpriv" : copy, words)
      try expectComplaint(125, "no permission to open \(device)", command)
    }
  }
}
