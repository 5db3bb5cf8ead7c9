import ExoABI
import Testing

@testable import Exo

extension GuestTests {
  /// What one environment leaves behind for the next: nothing.
  @Suite struct ReuseTests {
    @Test func framesComeBack() async throws {
      try await withMachine(memory: 16 << 20) { machine in
        machine.machine.withKernel { $0.restingLimit = 1 }
        func hello() async throws -> Int {
          let environment = try machine.launch(.built("GuestHello"), arguments: ["hello"])
          #expect(await environment.outcome() == .exited(status: 0))
          return machine.machine.freeFrames
        }
        // The first leaves its shell.
        let first = try await hello()
        for _ in 0..<20 { #expect(try await hello() == first) }
      }
    }

    /// However it ends: by itself, by a fault, for misuse, killed; with frames allocated, mapped, freed, pinned.
    @Test func framesComeBackHoweverItEnds() async throws {
      let endings: [@Sendable (inout Assembly) -> Void] = [
        { $0.exit() }, { $0.raw(0x0f, 0x0b) }, { $0.load(.rax, at: exo_kit_doorbell) },
        { $0.ring(EXO_DOORBELL_WAIT, 9999) },
      ]
      try await withMachine(memory: 16 << 20) { machine in
        machine.machine.withKernel { $0.restingLimit = 1 }
        var baseline: Int?
        for _ in 0..<3 {
          for ending in endings {
            let guest = Handmade {
              Self.takeFrames(&$0)
              ending(&$0)
              $0.forever()
            }
            let environment = try machine.launch(guest.image(), timeLimit: .milliseconds(300))
            _ = await environment.outcome()
            let free = machine.machine.freeFrames
            if let baseline { #expect(free == baseline) } else { baseline = free }
            #expect(machine.machine.withKernel { $0.checkInvariants() } == [])
          }
        }
      }
    }

    /// 64 frames mapped and filled, 3 pages unmapped, a stack bound, other frames allocated and never mapped.
    private static func takeFrames(_ code: inout Assembly) {
      code.exocall(EXO_CALL_frame_allocate, .value(.max), 64)
      code.exocall(EXO_CALL_map, .register(.rax), 0, .value(place), 64, 3)
      code.exitUnlessZero()
      code.fill(place, words: 64 * 512, with: 0x5555_aaaa_5555_aaaa)
      code.exocall(EXO_CALL_unmap, .value(place + 0x4000), 3)
      code.exitUnlessZero()
      code.exocall(EXO_CALL_exception_bind, 0, .value(Assembly.codeBase), .value(place + 0x2000))
      code.exitUnlessZero()
      code.exocall(EXO_CALL_frame_allocate, .value(.max), 16)
    }
    private static let place: UInt64 = 0x1000_0000

    /// All the memory there is, filled by one environment and looked through by the next.
    @Test func framesAreCleared() async throws {
      try await withMachine(memory: 8 << 20) { machine in
        machine.machine.withKernel { $0.restingLimit = 1 }
        let pages: UInt64 = 1024
        let dirty = Handmade {
          $0.exocall(EXO_CALL_frame_allocate, .value(.max), .value(pages))
          $0.move(.rcx, to: .rbx)
          $0.exocall(EXO_CALL_map, .register(.rax), 0, .value(Self.place), .value(pages), 3)
          $0.exitUnlessZero()
          $0.fill(Self.place, words: pages * 512, with: .max)
          $0.fill(Assembly.dataBase, words: 512 * 4, with: .max)
          $0.fill(
            exo_stack_top - UInt64(EXO_STACK_PAGES) << 12, words: UInt64(EXO_STACK_PAGES) << 9, with: .max)
          $0.fill(exo_kit_trap, words: 512, with: .max)
          $0.move(.rbx, to: .rax)
          $0.store(.rax, at: Assembly.dataBase)
          $0.write(Assembly.dataBase, 8)
          $0.exit()
        }
        let clean = Handmade {
          for (address, pages) in [
            (Assembly.dataBase, 4), (exo_stack_top - UInt64(EXO_STACK_PAGES) << 12, UInt64(EXO_STACK_PAGES)),
            (exo_kit_submission, 1), (exo_kit_completion, 1), (exo_kit_trap, 1), (exo_kit_events, 1),
          ] {
            $0.isAnyNonzero(address, words: pages * 512)
            $0.unlessRAXIsZero { $0.exit(2) }
          }
          $0.exocall(EXO_CALL_frame_allocate, .value(.max), .value(pages))
          $0.exocall(EXO_CALL_map, .register(.rax), 0, .value(Self.place), .value(pages), 3)
          $0.exitUnlessZero()
          $0.isAnyNonzero(Self.place, words: pages * 512)
          $0.exit(.register(.rax))
        }
        for _ in 0..<3 {
          let (outcome, bytes) = try await machine.run(dirty)
          #expect(outcome == .exited(status: 0))
          #expect(bytes.prefix(3) == [0, 4, 0])
          let (next, _) = try await machine.run(clean)
          #expect(next == .exited(status: 0))
        }
      }
    }

    // --- registers

    /// Leaves something in every register that ring 3 can write.
    private static func soil(_ code: inout Assembly) {
      code.fill(Assembly.dataBase, words: 64, with: 0x3ff1_2345_6789_abcd)
      code.set(.rax, Assembly.dataBase)
      for register in 0..<16 as Range<UInt8> {
        // movups (%rax), %xmmN, with REX.R for the upper half
        if register >= 8 { code.raw(0x44) }
        code.raw(0x0f, 0x10, (register & 7) << 3)
      }
      code.store32(0x1fbf, at: Assembly.dataBase + 512)  // MXCSR: other rounding, flags raised
      code.raw(0x41, 0x0f, 0xae, 0x13)  // ldmxcsr (%r11)
      code.store32(0x0c7f, at: Assembly.dataBase + 516)
      code.raw(0x41, 0xd9, 0x2b)  // fldcw (%r11)
      code.raw(0xd9, 0xeb, 0xd9, 0xe8)  // fldpi; fld1
      code.raw(0xb8, UInt8(EXO_USER_SS), 0, 0, 0)
      code.raw(0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8)  // ds, es, fs, gs
      code.set(.rax, 0x1234_5678_9abc)
      code.raw(0xf3, 0x48, 0x0f, 0xae, 0xd0, 0xf3, 0x48, 0x0f, 0xae, 0xd8)  // wrfsbase, wrgsbase %rax
      for register in Assembly.Register.allCases where register != .rsp {
        code.set(register, 0xdead_0000_0000_0000 | UInt64(register.rawValue))
      }
      code.raw(0xfd, 0xf9)  // std; stc
    }

    static let endings: [Attempt] = [
      Attempt("exit", .exit(0)) { $0.exit() },
      Attempt("fault", .exit(0), code: 0x0f, 0x0b),
      // The host must not finish these in the registers of the next environment.
      Attempt("device read", .exit(0)) { $0.load(.rax, at: exo_kit_doorbell) },
      Attempt("device read of a vector", .exit(0)) {
        $0.set(.r11, exo_kit_doorbell)
        $0.raw(0x41, 0x0f, 0x10, 0x03)
      },
      Attempt("device write of a vector", .exit(0)) {
        $0.set(.r11, exo_kit_doorbell)
        $0.raw(0x41, 0x0f, 0x11, 0x03)
      },
      Attempt("what KVM cannot emulate", .exit(0)) {
        $0.set(.r11, exo_kit_doorbell)
        $0.raw(0x41, 0x0f, 0xae, 0x03)
      },
      Attempt("a stop in the middle", .exit(0)) { $0.forever() },
    ]

    /// Whatever ends the one before on the same vCPU, each environment begins with the same registers.
    @Test(arguments: endings) func registersAreCleared(_ ending: Attempt) async throws {
      try await withMachine(memory: 8 << 20) { machine in
        var selectors: [UInt64] = []
        for round in 0..<3 {
          // The report of a fault at the first instruction tells the general registers.
          let (outcome, _) = try await machine.run(Handmade { $0.raw(0x0f, 0x0b) })
          guard case .faulted(let report) = outcome else {
            Issue.record("round \(round): \(outcome)")
            return
          }
          for (name, value) in report.registers.named {
            let expected: UInt64 =
              switch name {
              case "rdi": exo_kit_start
              case "rsp": exo_stack_top
              case "rip": Assembly.codeBase
              // Bit 1 always, interrupts on, and RF, which a fault's frame has set.
              case "rflags": 0x202
              case "cs": UInt64(EXO_USER_CS)
              case "ss": UInt64(EXO_USER_SS)
              default: 0
              }
            let found = name == "rflags" ? value & ~(1 << 16) : value
            #expect(found == expected, "round \(round): \(name) is \(String(value, radix: 16))")
          }
          let found = try await expectClearedState(machine, round)
          if round == 0 { selectors = found }
          // Where ring 3 runs natively under an interpreted ring 0, KVM_SET_SREGS does not load the data segments'
          // selectors: an environment can see what the last one left there.
          if machine.machine.substrate?.kind == .native { #expect(found == selectors, "round \(round)") }
          _ = try await machine.run(
            Handmade {
              Self.soil(&$0)
              ending.build(&$0)
              $0.forever()
            }, timeLimit: .milliseconds(200))
        }
      }
    }

    /// Vector, x87 and base registers, written out by a guest. Returns the data segments' selectors.
    private func expectClearedState(_ machine: TestMachine, _ round: Int) async throws -> [UInt64] {
      let hasZMM = machine.machine.hardware.features & UInt64(EXO_FEATURE_AVX512) != 0
      let base = Assembly.dataBase
      let guest = Handmade {
        $0.set(.rax, base)
        $0.raw(0x48, 0x0f, 0xae, 0x00)  // fxsave64 (%rax)
        // Bases and selectors from 512 on.
        $0.raw(0xf3, 0x48, 0x0f, 0xae, 0xc1)  // rdfsbase %rcx
        $0.store(.rcx, at: base + 512)
        $0.raw(0xf3, 0x48, 0x0f, 0xae, 0xc9)  // rdgsbase %rcx
        $0.store(.rcx, at: base + 520)
        for (index, code) in [0xd9, 0xc1, 0xe1, 0xe9].enumerated() {  // mov %ds, %es, %fs, %gs to %ecx
          $0.raw(0x31, 0xc9, 0x8c, UInt8(code))
          $0.store(.rcx, at: base + 528 + UInt64(index) * 8)
        }
        if hasZMM {
          $0.set(.rax, base + 1024)
          for register in 0..<32 as Range<UInt8> {
            // vmovdqu64 %zmmN, 64N(%rax): EVEX, with the register's upper bits inverted in R and R'.
            let high = (register & 8 == 0 ? 0x80 : 0) | (register & 16 == 0 ? 0x10 : 0) as UInt8
            $0.raw(0x62, 0x61 | high, 0xfe, 0x48, 0x7f, 0x40 | (register & 7) << 3, register)
          }
        }
        $0.write(base, 1024 + 2048)
        $0.exit()
      }
      let (outcome, bytes) = try await machine.run(guest)
      try #require(outcome == .exited(status: 0), "round \(round): \(outcome)")
      try #require(bytes.count == 3072)
      #expect(Array(bytes[0..<6]) == [0x7f, 0x03, 0, 0, 0, 0], "round \(round): x87 control, status, tags")
      #expect(Array(bytes[24..<28]) == [0x80, 0x1f, 0, 0], "round \(round): MXCSR")
      #expect(bytes[32..<416].allSatisfy { $0 == 0 }, "round \(round): x87 and vector registers")
      let output = Output()
      output.add(Array(bytes[512..<560]))
      #expect(Array(output.words[0..<2]) == [0, 0], "round \(round): FS and GS base")
      #expect(bytes[1024...].allSatisfy { $0 == 0 }, "round \(round): zmm")
      return Array(output.words[2...])
    }

    // --- what outlives an environment on the host

    /// Events and answers that come too late must not reach the pages, which are another's by then.
    @Test func nothingIsWrittenAfterTheEnd() async throws {
      try await withMachine(memory: 8 << 20) { machine in
        machine.machine.withKernel { $0.restingLimit = 1 }
        let ended = try machine.launch(Handmade { $0.exit() }.image())
        #expect(await ended.outcome() == .exited(status: 0))
        // It takes the shell over.
        let next = try machine.launch(Handmade { $0.forever() }.image())
        #expect(next.start == ended.start)
        ended.post(Event(kind: .message, data: 1, value: 2))
        ended.setTimer(1)
        ended.fireTimer(at: 2)
        #expect(!ended.serveRing().served)
        let events = machine.machine.withKernel { kernel in
          kernel.domains[next.id].map { kernel.memory.load(PhysicalAddress($0.shell.events.address.value)) }
        }
        #expect(events == 0)
        next.kill()
        _ = await next.outcome()
      }
    }
  }
}
