import Exo
import ExoABI
import Glibc
import Testing

extension GuestTests {
  /// Ends that come from outside: nobody outlives them, whatever it does.
  @Suite struct EndingTests {
    static let endless: [Attempt] = [
      Attempt("jmp .", .exit(0)) { $0.forever() },
      Attempt("pause", .exit(0)) {
        $0.repeatUntil(raxIs: 1) { $0.raw(0xf3, 0x90, 0x31, 0xc0) }
      },
      // A write that nobody takes: the answer never comes.
      Attempt("asleep", .exit(0)) {
        $0.fill(EXO_CALL_console_read, [.value(Assembly.dataBase), 1])
        $0.publish()
        $0.ring(EXO_DOORBELL_SERVE)
        $0.sleepForAnswer()
      },
      Attempt("asleep for what was never asked", .exit(0)) {
        $0.repeatUntil(raxIs: 1) {
          $0.ring(EXO_DOORBELL_WAIT, 1000)
          $0.raw(0x31, 0xc0)
        }
      },
      Attempt("watching its ring", .exit(0)) {
        $0.fill(EXO_CALL_console_read, [.value(Assembly.dataBase), 1])
        $0.publish()
        $0.ring(EXO_DOORBELL_WAKE)
        $0.awaitAnswer()
      },
      Attempt("ringing", .exit(0)) {
        $0.repeatUntil(raxIs: 1) {
          $0.ring(EXO_DOORBELL_SERVE)
          $0.raw(0x31, 0xc0)
        }
      },
      Attempt("yielding", .exit(0)) {
        $0.repeatUntil(raxIs: 1) {
          $0.store64(0, at: exo_kit_doorbell + UInt64(EXO_DOORBELL_YIELD))
          $0.raw(0x31, 0xc0)
        }
      },
      Attempt("faulting on its exception stack", .exit(0)) { Self.faultForever(&$0) },
      Attempt("keeping its ring full", .exit(0)) { Self.submitForever(&$0) },
    ]

    /// A handler that is no instruction: each delivery raises the next.
    private static func faultForever(_ code: inout Assembly) {
      code.exocall(
        EXO_CALL_exception_bind, 6, .value(Assembly.codeBase + 0x800), .value(Assembly.dataBase + 0x1000))
      code.exitUnlessZero()
      code.raw(0x0f, 0x0b)
      while code.here < Assembly.codeBase + 0x800 { code.raw(0x90) }
      code.raw(0x0f, 0x0b)
    }

    /// `null` calls without end, 32 ahead of their answers, so that whoever serves the ring always finds some.
    ///
    /// RBX counts submissions, RBP answers taken, R12 and R13 hold the rings' addresses.
    private static func submitForever(_ code: inout Assembly) {
      code.set(.r12, exo_kit_submission)
      code.set(.r13, exo_kit_completion)
      code.raw(0x31, 0xdb, 0x31, 0xed)  // xor %ebx, %ebx; xor %ebp, %ebp
      code.ring(EXO_DOORBELL_WAKE)
      code.repeatUntil(raxIs: .max) {
        // slot = r12 + (ebx % 64) * 64; ++ebx; consumed = ebp; call = 0; sequence = ebx
        $0.raw(0x89, 0xd8, 0x83, 0xe0, 63, 0xc1, 0xe0, 6)  // mov %ebx,%eax; and $63,%eax; shl $6,%eax
        $0.raw(0x4c, 0x01, 0xe0)  // add %r12,%rax
        $0.raw(0xff, 0xc3)  // inc %ebx
        $0.raw(0xc7, 0x40, 48, 0, 0, 0, 0)  // movl $0,48(%rax)
        $0.raw(0x89, 0x68, 56)  // mov %ebp,56(%rax)
        $0.raw(0x89, 0x58, 60)  // mov %ebx,60(%rax)
        // Takes answers until fewer than 32 are out: while ebx - ebp >= 32, if the next is there, ++ebp.
        $0.raw(0x89, 0xd9, 0x29, 0xe9, 0x83, 0xf9, 32)  // 1: mov %ebx,%ecx; sub %ebp,%ecx; cmp $32,%ecx
        $0.raw(0x72, 0x17)  // jb 2f
        $0.raw(0x89, 0xe9, 0x83, 0xe1, 63, 0xc1, 0xe1, 6)  // mov %ebp,%ecx; and $63,%ecx; shl $6,%ecx
        $0.raw(0x4c, 0x01, 0xe9)  // add %r13,%rcx
        $0.raw(0x8d, 0x55, 1)  // lea 1(%rbp),%edx
        $0.raw(0x39, 0x51, 60)  // cmp %edx,60(%rcx)
        $0.raw(0x75, 0xe4)  // jne 1b
        $0.raw(0xff, 0xc5)  // inc %ebp
        $0.raw(0xeb, 0xe0)  // jmp 1b
        $0.raw(0x31, 0xc0)  // 2: xor %eax,%eax
      }
    }

    private func launch(_ attempt: Attempt, _ machine: TestMachine, timeLimit: Duration) throws -> Environment
    {
      var ends: [Int32] = [0, 0]
      #expect(pipe(&ends) == 0)
      let input = Console(input: .descriptor(ends[0]))
      return try machine.launch(
        Handmade {
          attempt.build(&$0)
          $0.forever()
        }.image(), console: input, timeLimit: timeLimit)
    }

    @Test(arguments: endless) func killed(_ attempt: Attempt) async throws {
      try await withMachine(memory: 8 << 20) { machine in
        let environment = try launch(attempt, machine, timeLimit: .seconds(60))
        // Long enough for the service to have gone to sleep, and then not at all.
        try await Task.sleep(for: .milliseconds(60))
        environment.kill()
        environment.kill()
        #expect(await environment.outcome() == .killed(status: 137))
        environment.kill()
        #expect(await environment.outcome() == .killed(status: 137))
        let early = try launch(attempt, machine, timeLimit: .seconds(60))
        early.kill()
        #expect(await early.outcome() == .killed(status: 137))
      }
    }

    @Test(arguments: endless) func timeLimit(_ attempt: Attempt) async throws {
      try await withMachine(memory: 8 << 20) { machine in
        let limit = Duration.milliseconds(120)
        let began = ContinuousClock.now
        let environment = try launch(attempt, machine, timeLimit: limit)
        #expect(await environment.outcome() == .timeLimit(limit))
        #expect(ContinuousClock.now - began >= limit)
      }
    }

    /// The machine stops whatever its environments do.
    @Test func stop() async throws {
      let machine = try TestMachine()
      var environments: [Environment] = []
      for attempt in Self.endless {
        environments.append(try launch(attempt, machine, timeLimit: .seconds(60)))
      }
      try await Task.sleep(for: .milliseconds(30))
      machine.stop()
      for environment in environments { #expect(await environment.outcome() == .killed(status: 137)) }
    }

    /// Launching while another thread stops the machine: each environment that was made also ends.
    @Test func launchesDuringStop() async throws {
      for _ in 0..<20 {
        let machine = try TestMachine(memory: 8 << 20)
        let image = try Handmade { $0.forever() }.image()
        async let launched: [Environment] = {
          var made: [Environment] = []
          for _ in 0..<8 {
            guard let environment = try? machine.launch(image) else { break }
            made.append(environment)
            await Task.yield()
          }
          return made
        }()
        await Task.yield()
        machine.stop()
        for environment in await launched { #expect(await environment.outcome() == .killed(status: 137)) }
      }
    }

    @Test func limitOfNothing() async throws {
      try await withMachine(memory: 8 << 20) { machine in
        let environment = try machine.launch(Handmade { $0.forever() }.image(), timeLimit: .zero)
        #expect(await environment.outcome() == .timeLimit(.zero))
      }
    }
  }

  /// Several environments on one processor.
  @Suite struct SharingTests {
    /// One that computes without an exit does not keep the others from their turns.
    @Test func nobodyStarves() async throws {
      try await withMachine { machine in
        let spinner = try machine.launch(Handmade { $0.forever() }.image())
        // It runs alone, untimed, by now.
        try await Task.sleep(for: .milliseconds(50))
        for round in 0..<3 {
          let output = Output()
          let guest = try machine.launch(
            .built("GuestHello"), arguments: ["hello", "\(round)"], console: output.console(),
            timeLimit: .seconds(10))
          #expect(await guest.outcome() == .exited(status: 0))
          #expect(output.text.hasSuffix("\(round)\n"))
        }
        spinner.kill()
        #expect(await spinner.outcome() == .killed(status: 137))
      }
    }

    /// One that sleeps is woken while another computes.
    @Test func sleeperIsWokenBesideASpinner() async throws {
      try await withMachine { machine in
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let output = Output()
        let reader = try machine.launch(
          Handmade {
            $0.fill(EXO_CALL_console_read, [.value(Assembly.dataBase), 16])
            $0.publish()
            $0.ring(EXO_DOORBELL_SERVE)
            $0.sleepForAnswer()
            $0.move(.rax, to: .r12)
            $0.exocall(EXO_CALL_console_write, .value(Assembly.dataBase), .register(.r12))
            $0.exit()
          }.image(), console: output.console(input: .descriptor(ends[0])), timeLimit: .seconds(10))
        let spinner = try machine.launch(Handmade { $0.forever() }.image())
        try await Task.sleep(for: .milliseconds(50))
        #expect(write(ends[1], "wake up", 7) == 7)
        #expect(await reader.outcome() == .exited(status: 0))
        #expect(output.text == "wake up")
        spinner.kill()
        _ = await spinner.outcome()
        close(ends[0])
        close(ends[1])
      }
    }

    /// Two that compute share the time, and each meets its own limit.
    @Test func twoSpinners() async throws {
      try await withMachine { machine in
        let limits = [Duration.milliseconds(300), .milliseconds(450)]
        let spinners = try limits.map {
          try machine.launch(Handmade { $0.forever() }.image(), timeLimit: $0)
        }
        for (spinner, limit) in zip(spinners, limits) {
          #expect(await spinner.outcome() == .timeLimit(limit))
        }
        for spinner in spinners { #expect(spinner.usage.timeInGuest > .milliseconds(20)) }
      }
    }
  }

  /// Breaking the rings' protocol ends the environment, and says how.
  @Suite struct RingMisuseTests {
    static let attempts: [Attempt] = [
      Attempt("a number ahead", .misuse(.ring(.sequence(found: 5, expected: 1)))) {
        $0.store32(5, at: exo_kit_submission + 60)
        $0.ring(EXO_DOORBELL_SERVE)
      },
      Attempt("a number from nowhere, polled", .misuse(.ring(.sequence(found: .max, expected: 1)))) {
        $0.store32(.max, at: exo_kit_submission + 60)
        $0.ring(EXO_DOORBELL_WAKE)
      },
      Attempt("a second in the first's place", .misuse(.ring(.sequence(found: 65, expected: 2)))) {
        $0.exocall(EXO_CALL_null)
        $0.store32(65, at: exo_kit_submission + 64 + 60)
        $0.ring(EXO_DOORBELL_SERVE)
      },
      Attempt("answers taken before they came", .misuse(.ring(.consumedRunsBackOrAhead(found: 7, posted: 0))))
      {
        $0.fill(EXO_CALL_null, consumed: 7)
        $0.publish()
        $0.ring(EXO_DOORBELL_SERVE)
      },
      Attempt("answers given back", .misuse(.ring(.consumedRunsBackOrAhead(found: 0, posted: 2)))) {
        $0.exocall(EXO_CALL_null)
        $0.exocall(EXO_CALL_null)
        $0.fill(EXO_CALL_null, consumed: 0)
        $0.publish()
        $0.ring(EXO_DOORBELL_SERVE)
      },
      Attempt("answers never taken", .misuse(.ring(.completionsNotConsumed(submission: 65)))) {
        for _ in 0..<64 {
          $0.fill(EXO_CALL_null, consumed: 0)
          $0.publish()
          $0.ring(EXO_DOORBELL_SERVE)
          $0.awaitAnswer()
        }
        $0.fill(EXO_CALL_null, consumed: 0)
        $0.publish()
        $0.ring(EXO_DOORBELL_SERVE)
      },
      // What is odd but no misuse.
      Attempt("a bell with nothing to serve", .exit(1)) {
        for offset in [EXO_DOORBELL_WAKE, EXO_DOORBELL_SERVE, EXO_DOORBELL_WAKE] { $0.ring(offset) }
        $0.ring(EXO_DOORBELL_WAIT, 0)
        $0.exit(1)
      },
      Attempt("a call that is none", .exit(UInt8(EXO_ENOSYS))) {
        $0.fill(exo_call(rawValue: 0xffff_ffff))
        $0.publish()
        $0.ring(EXO_DOORBELL_SERVE)
        $0.awaitAnswer()
        $0.raw(0x48, 0xf7, 0xd8)  // neg %rax
        $0.exit(.register(.rax))
      },
      Attempt("what follows an exit is not served", .exit(9)) {
        $0.fill(EXO_CALL_exit, [9], consumed: 0)
        $0.publish()
        $0.fill(EXO_CALL_exit, [10], consumed: 0)
        $0.publish()
        $0.ring(EXO_DOORBELL_SERVE)
      },
    ]
    @Test(arguments: attempts) func misuse(_ attempt: Attempt) async throws { try await attempt.check() }
  }
}
