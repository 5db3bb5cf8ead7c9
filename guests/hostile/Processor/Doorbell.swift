import ExoABI
import HostileSupport
import LibOS

/// The doorbell page takes three stores of four bytes. Anything else is misuse, and ends only whoever did it: the next
/// environment on the same virtual processor must find it as new, though KVM was in the middle of an instruction.
extension Attack {
  static var doorbell: Attack {
    Attack("doorbell", "Every wrong access to the doorbell page, each in a child, and as a buffer.") {
      for which in 0..<UInt64(HOSTILE_DOORBELL_CASES) {
        let end = Child.run(HOSTILE_DOORBELL, which)
        // Some instructions KVM carries out in part, or refuses to emulate; hardware without AVX has no such store.
        let allowed =
          end == .misused
          || end.how == Int64(EXO_ENDED_FAULTED) && [6, 13, 14].contains(end.value)
        expect(allowed, "access \(which): \(end.text)")
        // One for each processor.
        for _ in 0..<2 {
          let next = Child.run(HOSTILE_EXIT, 42)
          expect(next == .exited(42), "after access \(which) the next environment: \(next.text)")
        }
      }
      // As a buffer, a handler, a stack and a vector.
      expectRefused(exocall(EXO_CALL_console_write, exo_kit_doorbell, 8), EXO_EFAULT, for: "writing from it")
      expectRefused(exocall(EXO_CALL_console_read, exo_kit_doorbell, 8), EXO_EFAULT, for: "reading into it")
      expectRefused(exocall(EXO_CALL_page_vector, 0, exo_kit_doorbell, 1), EXO_EFAULT, for: "a vector in it")
      expectRefused(
        exocall(EXO_CALL_exception_bind, 3, hostile_catcher(3), exo_kit_doorbell + 128), EXO_EFAULT,
        for: "a stack in it")
      expectRefused(
        exocall(EXO_CALL_exception_bind, 3, exo_kit_doorbell, hostile_stack_top(5)), EXO_EFAULT,
        for: "a handler in it")
      // The right stores, often and for nothing.
      for _ in 0..<200 {
        hostile_doorbell(UInt32(EXO_DOORBELL_WAKE), 0)
        hostile_doorbell(UInt32(EXO_DOORBELL_SERVE), .max)
      }
      // Ending its slice in favour of nobody, of what is no environment, and of one that never began.
      let unborn = Child()
      for handle in [0, 1, .max, unborn.handle, unborn.stack.capability, exo_nucleus_idt] {
        for _ in 0..<4 { hostile_yield(handle) }
      }
      // Waiting for what was posted long ago.
      for _ in 0..<20 { hostile_doorbell(UInt32(EXO_DOORBELL_WAIT), 1) }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  /// The same in the environment itself.
  static var doorbellLoad: Attack {
    Attack("doorbell-load", "Loads from the doorbell page: misuse ends it.") {
      _ = hostile_read(exo_kit_doorbell)
      succeeded("a load from the doorbell")
    }
  }
}
