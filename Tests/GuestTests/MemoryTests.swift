import ExoABI
import Testing

@testable import Exo

extension GuestTests {
  /// Frames, mappings and protection as an environment uses them.
  @Suite struct MemoryTests {
    private static let place: UInt64 = 0x1000_0000

    /// Frames, with the capability in R12, mapped at the place.
    private static func map(_ code: inout Assembly, pages: UInt64 = 4, rights: UInt64 = 3) {
      code.exocall(EXO_CALL_frame_allocate, .value(.max), .value(pages))
      code.move(.rax, to: .r12)
      code.exocall(EXO_CALL_map, .register(.r12), 0, .value(place), .value(pages), .value(rights))
      code.exitUnlessZero()
    }
    /// The environment ends with the errno of the newest call.
    private static func exitWithError(_ code: inout Assembly) {
      code.raw(0x48, 0xf7, 0xd8)  // neg %rax
      code.exit(.register(.rax))
    }
    private static func refused(
      _ name: String, _ errno: Int32, _ build: @escaping @Sendable (inout Assembly) -> Void
    ) -> Attempt {
      Attempt(name, .exit(UInt8(errno))) {
        build(&$0)
        exitWithError(&$0)
      }
    }
    /// A fault somewhere: the test looks at the vector, the error and the address.
    private static func faults(
      _ name: String, error: UInt64, address: UInt64 = place,
      _ build: @escaping @Sendable (inout Assembly) -> Void
    ) -> (name: String, error: UInt64, address: UInt64, build: @Sendable (inout Assembly) -> Void) {
      (name, error, address, build)
    }

    static let worksAttempts: [Attempt] = [
      Attempt("map, write and read back", .exit(0x5a)) {
        map(&$0)
        $0.store64(0x5a, at: place + 0x3ff8)
        $0.load(.rax, at: place + 0x3ff8)
        $0.exit(.register(.rax))
      },
      Attempt("two mappings of one frame", .exit(0x77)) {
        map(&$0)
        $0.exocall(EXO_CALL_map, .register(.r12), 1, .value(place + 0x10_0000), 1, 1)
        $0.exitUnlessZero()
        $0.store64(0x77, at: place + 0x1000)
        $0.load(.rax, at: place + 0x10_0000)
        $0.exit(.register(.rax))
      },
      Attempt("lower and restore", .exit(0x11)) {
        map(&$0)
        $0.store64(1, at: place)
        $0.exocall(EXO_CALL_protect, .value(place), 1, 1)
        $0.exitUnlessZero()
        $0.load(.rax, at: place)
        $0.exocall(EXO_CALL_protect, .value(place), 1, 0)
        $0.exitUnlessZero()
        $0.exocall(EXO_CALL_protect, .value(place), 1, 3)
        $0.exitUnlessZero()
        $0.store64(0x11, at: place)
        $0.load(.rax, at: place)
        $0.exit(.register(.rax))
      },
      // What was data becomes code: nothing is flushed when a right is added.
      Attempt("run what was written", .exit(0x2a)) {
        map(&$0)
        $0.store64(0xc3_0000_002a_b8, at: place)  // mov $42, %eax; ret
        $0.load(.rax, at: place)
        $0.exocall(EXO_CALL_protect, .value(place), 1, 5)
        $0.exitUnlessZero()
        $0.call(place)
        $0.exit(.register(.rax))
      },
      Attempt("the same page with other frames", .exit(0x99)) {
        map(&$0)
        $0.store64(0x55, at: place)
        $0.exocall(EXO_CALL_unmap, .value(place), 1)
        $0.exitUnlessZero()
        $0.exocall(EXO_CALL_map, .register(.r12), 3, .value(place), 1, 3)
        $0.exitUnlessZero()
        // Not what the old frame holds.
        $0.load(.rax, at: place)
        $0.exitUnlessZero()
        $0.store64(0x99, at: place)
        $0.load(.rax, at: place + 0x3000)
        $0.exit(.register(.rax))
      },
      Attempt("its own page-table entry", .exit(0x67)) {
        map(&$0)
        $0.store64(1, at: place)
        $0.load(.rax, at: exo_kit_tables + place >> 9)
        $0.exit(.register(.rax))  // present, writable, user, accessed, dirty
      },
      Attempt("a handler of one's own", .exit(42)) {
        $0.exocall(
          EXO_CALL_exception_bind, 3, .value(Assembly.codeBase + 0x800), .value(Assembly.dataBase + 0x1000))
        $0.exitUnlessZero()
        $0.raw(0xcc)
        $0.exit(43)
        while $0.here < Assembly.codeBase + 0x800 { $0.raw(0x90) }
        $0.exit(42)
      },
      Attempt("a handler that returns", .exit(44)) {
        $0.exocall(
          EXO_CALL_exception_bind, 3, .value(Assembly.codeBase + 0x800), .value(Assembly.dataBase + 0x1000))
        $0.exitUnlessZero()
        for _ in 0..<3 { $0.raw(0xcc) }
        $0.exit(44)
        while $0.here < Assembly.codeBase + 0x800 { $0.raw(0x90) }
        $0.raw(0x48, 0xcf)  // iretq
      },
      // The error code is 6, RIP, CS, RFLAGS, RSP and SS lie above it.
      Attempt("the faulting address", .exit(0xb)) {
        $0.exocall(
          EXO_CALL_exception_bind, 14, .value(Assembly.codeBase + 0x800), .value(Assembly.dataBase + 0x1000),
          1)
        $0.exitUnlessZero()
        $0.store8(1, at: 0xb000)
        while $0.here < Assembly.codeBase + 0x800 { $0.raw(0x90) }
        $0.raw(0x58, 0x5b)  // pop %rax; pop %rbx
        $0.raw(0x48, 0xc1, 0xe8, 12)  // shr $12, %rax
        $0.exit(.register(.rax))
      },
      Attempt("an unbound vector ends it again", .exit(1)) {
        $0.exocall(
          EXO_CALL_exception_bind, 3, .value(Assembly.codeBase + 0x800), .value(Assembly.dataBase + 0x1000))
        $0.exocall(EXO_CALL_exception_unbind, 3)
        $0.exitUnlessZero()
        $0.exocall(EXO_CALL_unmap, .value(Assembly.dataBase), 1)
        $0.exitUnlessZero()
        $0.exit(1)
      },
    ]
    @Test(arguments: worksAttempts) func works(_ attempt: Attempt) async throws { try await attempt.check() }

    static let refusalAttempts: [Attempt] = [
      refused("a frame that is taken", EXO_EBUSY) { $0.exocall(EXO_CALL_frame_allocate, 0, 1) },
      refused("a frame past the end", EXO_ERANGE) { $0.exocall(EXO_CALL_frame_allocate, 0x10_0000, 1) },
      refused("a capability that never was", EXO_EBADF) {
        $0.exocall(EXO_CALL_map, 0x7_0000_0007, 0, .value(place), 1, 1)
      },
      refused("a capability that is no more", EXO_ESTALE) {
        map(&$0)
        $0.exocall(EXO_CALL_frame_free, .register(.r12))
        $0.exitUnlessZero()
        $0.exocall(EXO_CALL_map, .register(.r12), 0, .value(place + 0x10_0000), 1, 1)
      },
      refused("past the capability's pages", EXO_ERANGE) {
        map(&$0)
        $0.exocall(EXO_CALL_map, .register(.r12), 3, .value(place + 0x10_0000), 2, 1)
      },
      refused("where something is mapped", EXO_EEXIST) {
        map(&$0)
        $0.exocall(EXO_CALL_map, .register(.r12), 0, .value(place + 0x3000), 1, 1)
      },
      refused("over the image", EXO_EEXIST) {
        map(&$0)
        $0.exocall(EXO_CALL_map, .register(.r12), 0, .value(Assembly.codeBase), 1, 3)
      },
      refused("over the kit", EXO_EINVAL) {
        map(&$0)
        $0.exocall(EXO_CALL_map, .register(.r12), 0, .value(exo_kit_start + 0x8000), 1, 3)
      },
      refused("over the page table", EXO_EINVAL) {
        map(&$0)
        $0.exocall(EXO_CALL_map, .register(.r12), 0, .value(UInt64(EXO_KIT_TABLES_LEVEL3)), 1, 3)
      },
      refused("more than was derived", EXO_EPERM) {
        map(&$0)
        $0.exocall(EXO_CALL_capability_derive, .register(.r12), 0, 1, 1)
        $0.exocall(EXO_CALL_map, .register(.rax), 0, .value(place + 0x10_0000), 1, 3)
      },
      refused("a right to write alone", EXO_EPERM) {
        map(&$0)
        $0.exocall(EXO_CALL_capability_derive, .register(.r12), 0, 1, 2)
        $0.exocall(EXO_CALL_map, .register(.rax), 0, .value(place + 0x10_0000), 1, 2)
      },
      refused("code made writable", EXO_EPERM) {
        $0.exocall(EXO_CALL_protect, .value(Assembly.codeBase), 1, 7)
      },
      refused("protection of nothing", EXO_ENOENT) { $0.exocall(EXO_CALL_protect, .value(place), 1, 1) },
      refused("a stack that is bound", EXO_EBUSY) {
        map(&$0)
        $0.exocall(EXO_CALL_exception_bind, 6, .value(Assembly.codeBase), .value(place + 0x1000))
        $0.exitUnlessZero()
        $0.exocall(EXO_CALL_unmap, .value(place), 4)
      },
      refused("frames under a bound stack", EXO_EBUSY) {
        map(&$0)
        $0.exocall(EXO_CALL_exception_bind, 6, .value(Assembly.codeBase), .value(place + 0x1000))
        $0.exitUnlessZero()
        $0.exocall(EXO_CALL_frame_free, .register(.r12))
      },
      refused("a stack that cannot be written", EXO_EFAULT) {
        $0.exocall(EXO_CALL_exception_bind, 6, .value(Assembly.codeBase), .value(Assembly.codeBase + 0x1000))
      },
      refused("a stack in the page table", EXO_EFAULT) {
        $0.exocall(
          EXO_CALL_exception_bind, 6, .value(Assembly.codeBase),
          .value(UInt64(EXO_KIT_TABLES_LEVEL3) + 0x1000))
      },
      refused("a handler that cannot be run", EXO_EFAULT) {
        $0.exocall(
          EXO_CALL_exception_bind, 6, .value(Assembly.dataBase), .value(Assembly.dataBase + 0x1000))
      },
      refused("bytes from the nucleus", EXO_EFAULT) {
        $0.exocall(EXO_CALL_console_write, .value(exo_nucleus_data), 64)
      },
      refused("bytes from the doorbell", EXO_EFAULT) {
        $0.exocall(EXO_CALL_console_write, .value(exo_kit_doorbell), 4)
      },
      refused("input over code", EXO_EFAULT) {
        $0.exocall(EXO_CALL_console_read, .value(Assembly.codeBase), 4)
      },
      refused("input over the page table", EXO_EFAULT) {
        map(&$0)
        $0.exocall(EXO_CALL_console_read, .value(exo_kit_tables + place >> 9), 8)
      },
      refused("input over the start page", EXO_EFAULT) {
        $0.exocall(EXO_CALL_console_read, .value(exo_kit_start), 8)
      },
    ]
    @Test(arguments: refusalAttempts) func refusal(_ attempt: Attempt) async throws {
      try await attempt.check()
    }

    /// What is taken away is gone when the call returns: the next access faults.
    @Test func accessAfterwardsFaults() async throws {
      let cases = [
        Self.faults("unmapped", error: 6) {
          Self.map(&$0)
          $0.store64(1, at: Self.place)
          $0.exocall(EXO_CALL_unmap, .value(Self.place), 1)
          $0.exitUnlessZero()
          $0.store64(1, at: Self.place)
        },
        Self.faults("unmapped, read", error: 4, address: Self.place + 0x2000) {
          Self.map(&$0)
          $0.store64(1, at: Self.place + 0x2000)
          $0.exocall(EXO_CALL_unmap, .value(Self.place + 0x2000), 1)
          $0.store64(1, at: Self.place)
          $0.load(.rax, at: Self.place + 0x2000)
        },
        Self.faults("lowered", error: 7) {
          Self.map(&$0)
          $0.store64(1, at: Self.place)
          $0.exocall(EXO_CALL_protect, .value(Self.place), 1, 1)
          $0.load(.rax, at: Self.place)
          $0.store64(1, at: Self.place)
        },
        Self.faults("lowered to nothing", error: 4) {
          Self.map(&$0)
          $0.store64(1, at: Self.place)
          $0.exocall(EXO_CALL_protect, .value(Self.place), 1, 0)
          $0.load(.rax, at: Self.place)
        },
        Self.faults("no longer code", error: 21) {
          Self.map(&$0)
          $0.store64(0xc3, at: Self.place)
          $0.exocall(EXO_CALL_protect, .value(Self.place), 1, 5)
          $0.call(Self.place)
          $0.exocall(EXO_CALL_protect, .value(Self.place), 1, 3)
          $0.call(Self.place)
        },
        Self.faults("freed", error: 6) {
          Self.map(&$0)
          $0.store64(1, at: Self.place)
          $0.exocall(EXO_CALL_frame_free, .register(.r12))
          $0.exitUnlessZero()
          $0.store64(1, at: Self.place)
        },
      ]
      for (name, error, address, build) in cases {
        try await withMachine(memory: 8 << 20) { machine in
          let (outcome, _) = try await machine.run(
            Handmade {
              build(&$0)
              $0.exit(99)
            }, timeLimit: .seconds(20))
          guard case .faulted(let report) = outcome else {
            Issue.record("\(name): \(outcome)")
            return
          }
          #expect(report.vector == .pageFault && report.errorCode == error, "\(name): \(report.errorCode)")
          #expect(report.address == GuestAddress(address), "\(name)")
        }
      }
    }

    /// Frames and page tables count, and the limit holds.
    @Test func quota() async throws {
      try await withMachine(memory: 32 << 20) { machine in
        let grabber = Handmade {
          for _ in 0..<40 { $0.exocall(EXO_CALL_frame_allocate, .value(.max), 64) }
          Self.exitWithError(&$0)
        }
        let environment = try machine.launch(grabber.image(), memory: 4 << 20)
        #expect(await environment.outcome() == .exited(status: UInt8(EXO_EDQUOT)))
        #expect(environment.usage.framesPeak == 1024)
        let sparse = Handmade {
          $0.exocall(EXO_CALL_frame_allocate, .value(.max), 1)
          $0.move(.rax, to: .r12)
          // Each in a table of its own.
          for index in 0..<60 as Range<UInt64> {
            $0.exocall(EXO_CALL_map, .register(.r12), 0, .value(0x100_0000_0000 + index << 32), 1, 1)
          }
          Self.exitWithError(&$0)
        }
        let second = try machine.launch(sparse.image(), memory: 160 << 12)
        #expect(await second.outcome() == .exited(status: UInt8(EXO_EDQUOT)))
        #expect(second.usage.framesPeak <= 160)
      }
    }
  }
}
