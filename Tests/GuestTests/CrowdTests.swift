import ExoABI
import Glibc
import Synchronization
import Testing

@testable import Exo

extension GuestTests {
  /// Many environments at once: most of them parked, a tenth as many running. `EXO_CROWD` says how many are parked; 10,000
  /// take some minutes and 4 GiB.
  @Suite struct CrowdTests {
    private static let parked = unsafe getenv("EXO_CROWD").flatMap { Int(unsafe String(cString: $0)) } ?? 400

    /// Says a letter, and sleeps for what was never asked.
    private static let sleeper = Handmade(dataPages: 1) {
      $0.store8(UInt8(ascii: "s"), at: Assembly.dataBase)
      $0.write(Assembly.dataBase, 1)
      $0.repeatUntil(raxIs: 1) {
        $0.ring(EXO_DOORBELL_WAIT, 1000)
        $0.raw(0x31, 0xc0)
      }
    }
    /// Says a letter, and keeps its processor busy.
    private static let runner = Handmade(dataPages: 1) {
      $0.store8(UInt8(ascii: "r"), at: Assembly.dataBase)
      $0.write(Assembly.dataBase, 1)
      $0.forever()
    }

    @Test func allAreAliveAndNothingIsLeft() async throws {
      let running = max(1, Self.parked / 10)
      // Each has 91 frames, most of them its stack.
      let memory = UInt64(Self.parked + running) * (96 << 12) + (32 << 20)
      try await withMachine(memory: memory, processors: 2) { test in
        let free = test.machine.freeFrames
        let output = Output()
        var environments: [Environment] = []
        func launch(_ guest: Handmade, _ count: Int) throws {
          let image = try guest.image()
          for _ in 0..<count {
            environments.append(
              try test.launch(image, console: output.console(), timeLimit: .seconds(900)))
          }
        }
        try launch(Self.sleeper, Self.parked)
        #expect(try await said("s", Self.parked, in: output))
        try launch(Self.runner, running)
        #expect(try await said("r", running, in: output), "not all have had a turn")
        #expect(environments.allSatisfy { !$0.endRequested.load(ordering: .relaxed) })
        for environment in environments { environment.kill() }
        for environment in environments { #expect(await environment.outcome() == .killed(status: 137)) }
        test.machine.withKernel { kernel in
          kernel.reclaim()
          #expect(kernel.checkInvariants() == [])
          let kept = kernel.idleShells.reduce(0) { $0 + $1.frameCount }
          #expect(kernel.frames.freeCount + kept == free)
        }
      }
    }

    /// A parked environment that an event wakes enters its handler on a virtual processor that was another's: in its own address
    /// space, or it would run there.
    @Test func aParkedOneWakesInItsHandler() async throws {
      let seen = Assembly.dataBase + 64
      let place: UInt64 = 0x2000_0000
      let handler = Assembly {
        $0.store8(1, at: seen)
        $0.raw(0x48, 0xcf)  // iretq
      }
      let heard = Handmade(others: [
        HandmadeSegment(address: place, flags: 5, pages: 1, content: handler.bytes)
      ]) {
        $0.exocall(
          EXO_CALL_event_bind, .value(place), .value(Assembly.dataBase + 0x3000),
          .value(1 << UInt64(EXO_EVENT_TIMER)))
        $0.exitUnlessZero()
        $0.store8(UInt8(ascii: "h"), at: Assembly.dataBase)
        $0.write(Assembly.dataBase, 1)
        $0.repeatUntil(raxIs: 1) {
          $0.ring(EXO_DOORBELL_WAIT, 1000)
          $0.load(.rax, at: seen)
        }
        $0.exit()
      }
      try await withMachine(memory: 96 << 20, processors: 1) { test in
        let output = Output()
        let first = try test.launch(
          try heard.image(), console: output.console(), timeLimit: .seconds(300))
        #expect(try await said("h", 1, in: output))
        let count = ProcessorLoop.residentLimit + 32
        var others: [Environment] = []
        for _ in 0..<count {
          others.append(
            try test.launch(
              try Self.sleeper.image(), console: output.console(), timeLimit: .seconds(300)))
        }
        #expect(try await said("s", count, in: output))
        first.post(Event(kind: .timer, value: 1))
        #expect(await first.outcome() == .exited(status: 0))
        #expect(others.allSatisfy { !$0.endRequested.load(ordering: .relaxed) }, "another was entered")
      }
    }

    /// Whether so many have said a letter within ten minutes.
    private func said(_ letter: Character, _ count: Int, in output: Output) async throws -> Bool {
      let wanted = letter.asciiValue ?? 0
      for _ in 0..<6000 {
        if output.bytes.count(where: { $0 == wanted }) == count { return true }
        try await Task.sleep(for: .milliseconds(100))
      }
      return false
    }
  }
}
