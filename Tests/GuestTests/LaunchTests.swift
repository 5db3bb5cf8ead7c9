import ExoABI
import Testing

@testable import Exo

extension GuestTests {
  @Suite struct LaunchTests {
    private static let greeting = "Hello from an environment of its own.\n"

    @Test func hello() async throws {
      try await withMachine { machine in
        let output = Output()
        let environment = try machine.launch(
          .built("GuestHello"), arguments: ["hello"], console: output.console())
        #expect(await environment.outcome() == .exited(status: 0))
        #expect(output.text == Self.greeting)
        let usage = environment.usage
        let calls = Dictionary(uniqueKeysWithValues: usage.exocalls.map { ($0.name, $0.count) })
        #expect(calls["exit"] == 1 && calls["console_write"] ?? 0 >= 1)
        #expect(usage.refused == 0)
        #expect(usage.exits >= 1 && usage.timeInGuest > .zero)
        // The stack alone.
        #expect(usage.framesPeak >= Int(EXO_STACK_PAGES))
        #expect(usage.startup.contains { $0.step == "vm" } && usage.startup.contains { $0.step == "vcpu" })
      }
    }

    @Test func arguments() async throws {
      let arguments = [
        "hello", "", "zwei drei", "naïve ☃ 👩‍👩‍👧", "", "--option", String(repeating: "x", count: 9000),
      ]
      try await withMachine { machine in
        let output = Output()
        let environment = try machine.launch(
          .built("GuestHello"), arguments: arguments, console: output.console())
        #expect(await environment.outcome() == .exited(status: 0))
        #expect(output.text == Self.greeting + arguments.dropFirst().map { $0 + "\n" }.joined())
      }
    }

    /// The first bytes of each variable, by the addresses that the start page gives.
    @Test func variables() async throws {
      let variables = ["A=1", "EMPTY=", "Ü=ö☃", "LONG=" + String(repeating: "y", count: 5000)]
      try await withMachine { machine in
        let output = Output()
        let guest = Handmade {
          // RDI still holds the start page's address.
          $0.raw(0x48, 0x8b, 0x5f, 88)  // mov 88(%rdi), %rbx
          for (index, variable) in variables.enumerated() {
            $0.raw(0x4c, 0x8b, 0x63, UInt8(index * 8))  // mov 8i(%rbx), %r12
            let count = min(variable.utf8.count + 1, 4096)
            $0.exocall(EXO_CALL_console_write, .register(.r12), .value(UInt64(count)))
          }
          $0.exit()
        }
        let environment = try machine.launch(
          guest.image(), arguments: ["a", "b"], variables: variables, console: output.console())
        #expect(await environment.outcome() == .exited(status: 0))
        let expected = variables.map { Array(($0.utf8.map { $0 } + [0]).prefix(4096)) }
        #expect(output.bytes == expected.flatMap { $0 })
      }
    }

    /// What the start page says of the environment.
    @Test func startPage() async throws {
      try await withMachine(memory: 16 << 20) { machine in
        let output = Output()
        let guest = Handmade {
          $0.write(exo_kit_start, 152)
          $0.write(exo_kit_start + UInt64(EXO_STATUS_OFFSET), 16)
          $0.write(exo_kit_machine, 48)
          $0.exit()
        }
        let environment = try machine.launch(
          guest.image(), arguments: ["one", "two"], variables: ["V=1"], memory: 4 << 20,
          console: output.console())
        #expect(await environment.outcome() == .exited(status: 0))
        let words = output.words
        try #require(words.count == 19 + 2 + 6)
        #expect(UInt32(truncatingIfNeeded: words[0]) == UInt32(EXO_ABI_VERSION))
        #expect(UInt32(words[0] >> 32) == environment.id.number)
        #expect(
          Array(words[1...5]) == [
            exo_kit_submission, exo_kit_completion, exo_kit_doorbell,
            exo_kit_start + UInt64(EXO_STATUS_OFFSET),
            exo_kit_machine,
          ])
        #expect(words[6] == exo_stack_top - UInt64(EXO_STACK_PAGES) << 12 && words[7] == exo_stack_top)
        #expect(Array(words[8...11]) == [2, exo_kit_arguments, 1, exo_kit_arguments + 16])
        #expect(words[13] == 1024)
        #expect(words[14] == Assembly.dataBase + 4 << 12)
        #expect(words[15] == exo_kit_frames && words[16] == exo_kit_tables && words[17] == exo_kit_events)
        #expect(words[20] == UInt64(environment.usage.framesPeak))
        #expect(words[21] == 4096 && words[22] < 4096)
        #expect(words[26] == 0x1_0000_0000)
      }
    }

    /// Whoever would rather watch memory than sleep is told whether that is at another's cost: first nobody waits, then one that computes
    /// does, then nobody again.
    @Test func othersThatWaitAreSeen() async throws {
      try await withMachine { machine in
        let output = Output()
        let status = exo_kit_start + UInt64(EXO_STATUS_OFFSET)
        let watcher = Handmade {
          $0.write(status, 8)
          for jump in [0x74, 0x75] as [UInt8] {
            // movl 4(%rbx), %eax; test %eax, %eax; and again while it is 0, then while it is not.
            $0.set(.rbx, status)
            $0.raw(0x8b, 0x43, 4, 0x85, 0xc0, jump, 0xf9)
          }
          $0.exit()
        }
        let watching = try machine.launch(
          watcher.image(), arguments: ["watcher"], console: output.console(), timeLimit: .seconds(20))
        while output.bytes.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        let busy = try machine.launch(
          Handmade { $0.raw(0xeb, 0xfe) }.image(), arguments: ["busy"], timeLimit: .milliseconds(200))
        #expect(await watching.outcome() == .exited(status: 0))
        #expect(output.words.first.map { $0 >> 32 } == 0)
        _ = await busy.outcome()
      }
    }

    @Test func statusIsTheGuests() async throws {
      try await withMachine { machine in
        for status in [0, 1, 127, 255] as [UInt8] {
          let (outcome, _) = try await machine.run(Handmade { $0.exit(.value(UInt64(status))) })
          #expect(outcome == .exited(status: status))
        }
      }
    }

    @Test func refusals() async throws {
      try await withMachine(memory: 8 << 20) { machine in
        machine.machine.withKernel { $0.restingLimit = 1 }
        let image = try Handmade { $0.exit() }.image()
        #expect(throws: LaunchError.argumentWithNUL(index: 1)) {
          try machine.launch(image, arguments: ["a", "b\0"])
        }
        #expect(throws: LaunchError.self) {
          try machine.launch(image, arguments: ["a", String(repeating: "z", count: 1 << 20)])
        }
        // A shell and its tables stay for the next environment.
        let (first, _) = try await machine.run(Handmade { $0.exit(2) })
        #expect(first == .exited(status: 2))
        let free = machine.machine.freeFrames
        #expect(throws: LaunchError.self) { try machine.launch(image, memory: 32 << 12) }
        let large = Handmade(dataPages: 4096) { $0.exit() }
        #expect(throws: LaunchError.self) { try machine.launch(large.image()) }
        #expect(machine.machine.freeFrames == free)
        let (outcome, _) = try await machine.run(Handmade { $0.exit(3) })
        #expect(outcome == .exited(status: 3))
        #expect(machine.machine.freeFrames == free)
      }
    }

    @Test func stoppedMachine() async throws {
      let machine = try TestMachine()
      let image = try Handmade { $0.exit() }.image()
      machine.stop()
      #expect(throws: LaunchError.machineStopped) { try machine.launch(image) }
      // A second stop finds nothing to do.
      machine.stop()
    }

    @Test func twoMachines() async throws {
      try await withMachine { first in
        try await withMachine { second in
          let outputs = [Output(), Output()]
          var environments: [Environment] = []
          for (machine, output) in zip([first, second], outputs) {
            environments.append(
              try machine.launch(
                .built("GuestHello"), arguments: ["hello", "there"], console: output.console()))
          }
          for (environment, output) in zip(environments, outputs) {
            #expect(await environment.outcome() == .exited(status: 0))
            #expect(output.text == Self.greeting + "there\n")
          }
        }
      }
    }

    /// With every processor of the host running environments, rings are served at exits.
    @Test func noProcessorToPollOn() async throws {
      try await withMachine(processors: 64) { machine in
        let outputs = (0..<4).map { _ in Output() }
        let environments = try outputs.map {
          try machine.launch(.built("GuestHello"), arguments: ["hello", "x"], console: $0.console())
        }
        for (environment, output) in zip(environments, outputs) {
          #expect(await environment.outcome() == .exited(status: 0))
          #expect(output.text == Self.greeting + "x\n")
        }
      }
    }
  }

  /// The guests that exorun carries, by what they are for.
  @Suite struct BasicsTests {
    private func run(
      _ arguments: [String], input: Console.Input = .empty, memory: UInt64? = nil
    ) async throws -> (Outcome, String) {
      try await withMachine { machine in
        let output = Output()
        let environment = try machine.launch(
          .built("GuestBasics"), arguments: arguments, memory: memory, console: output.console(input: input))
        return (await environment.outcome(), output.text)
      }
    }
    private func vector(_ outcome: Outcome) -> UInt8? {
      if case .faulted(let report) = outcome { report.vector.number } else { nil }
    }

    @Test func faults() async throws {
      let (outcome, text) = try await run(["faults"])
      #expect(outcome == .exited(status: 0))
      #expect(text.contains("11 of 11 handled"))
    }

    @Test func crash() async throws {
      for (how, expected) in [("null", 14), ("stack", 14), ("nx", 14), ("divide", 0), ("trap", 6)]
        as [(String, UInt8)]
      {
        let (outcome, _) = try await run(["crash", how])
        #expect(vector(outcome) == expected, "\(how): \(outcome)")
      }
      let (outcome, text) = try await run(["crash", "panic"])
      #expect(outcome == .exited(status: 134) && text.contains("panic"))
    }

    /// Where it crashed: the report leads to the guest's own code.
    @Test func crashReport() async throws {
      let (outcome, _) = try await run(["crash", "null"])
      guard case .faulted(let report) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      #expect((report.address?.value ?? .max) < 0x10000)
      #expect(report.accessDescription?.contains("nothing mapped") == true)
      #expect(!report.code.isEmpty && !report.backtrace.isEmpty)
      #expect(report.registers.rip >= 0x40_0000 && report.registers.rip < 0x100_0000)
    }

    @Test func cat() async throws {
      let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      try await withMachine { machine in
        let output = Output()
        let environment = try machine.launch(
          .built("GuestBasics"), arguments: ["cat"], console: output.console(input: .bytes(bytes)))
        #expect(await environment.outcome() == .exited(status: 0))
        #expect(output.bytes == bytes)
      }
      let (outcome, text) = try await run(["cat"])
      #expect(outcome == .exited(status: 0) && text.isEmpty)
    }

    @Test func heap() async throws {
      let (outcome, text) = try await run(["heap"], memory: 8 << 20)
      #expect(outcome == .exited(status: 0))
      #expect(text.contains("refused and went on") && text.contains("everything was given back"))
    }

    @Test func events() async throws {
      let (outcome, text) = try await run(["events"])
      #expect(outcome == .exited(status: 0), "\(text)")
    }

    @Test func unknown() async throws {
      let (outcome, _) = try await run(["nothing of the kind"])
      #expect(outcome == .exited(status: 127))
    }
  }
}

extension Output {
  /// Its bytes as little-endian words.
  var words: [UInt64] {
    let bytes = bytes
    return stride(from: 0, to: bytes.count - 7, by: 8).map { at in
      (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) }
    }
  }
}
