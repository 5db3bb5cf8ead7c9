import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// Attacks by wakeup predicates: programs that the exokernel runs.
extension Attack {
  static var predicates: Attack {
    Attack("predicates", "Binds rules that are none, that lie, and whose words another scribbles on.") {
      let page = Pages(1).map(at: Place.scratch)
      let program = UnsafeMutablePointer<UInt64>.allocate(capacity: 65)
      func bind(_ rule: [UInt64], at page: UInt64? = nil, length: UInt64? = nil) -> Int64 {
        for (index, word) in rule.enumerated() { program[index] = word }
        return exocall(
          EXO_CALL_predicate_bind, UInt64(UInt(bitPattern: program)), length ?? UInt64(rule.count) * 8,
          page ?? Place.scratch)
      }
      let result = instruction(EXO_RULE_RESULT)

      // What is no program.
      let malformed: [([UInt64], String)] = [
        ([instruction(14), result], "an operation that is none"), ([instruction(255), result], "another"),
        ([instruction(EXO_RULE_CONSTANT, into: 8), result], "a ninth register"),
        ([instruction(EXO_RULE_ADD, a: 9), result], "a tenth register"),
        ([instruction(EXO_RULE_ADD, b: 255), result], "the last register"),
        ([instruction(EXO_RULE_INPUT, a: 2), result], "an input that is none"),
        ([instruction(EXO_RULE_INPUT, a: 255), result], "the last input"),
        ([instruction(EXO_RULE_SKIP_IF_ZERO, immediate: -1), result], "a jump back"),
        ([instruction(EXO_RULE_SKIP_IF_ZERO, immediate: 0), result], "a jump to itself"),
        ([instruction(EXO_RULE_SKIP_IF_ZERO, immediate: 1), result], "a jump to the end"),
        ([instruction(EXO_RULE_SKIP_IF_ZERO, immediate: .max), result], "a jump beyond"),
        ([instruction(EXO_RULE_CONSTANT)], "no result"),
        ([UInt64](repeating: result, count: 65), "65 instructions"),
      ]
      for (rule, what) in malformed { expectRefused(bind(rule), EXO_EINVAL, for: what) }
      for length: UInt64 in [1, 7, 9, 520, 1 << 32, .max, .max - 7] {
        expectRefused(bind([result, result], length: length), EXO_EINVAL, EXO_EFAULT, for: "\(length) bytes")
      }
      for address in [0, 0x10000, exo_nucleus_idt, 0x8000_0000_0000, .max - 6] as [UInt64] {
        expectRefused(
          exocall(EXO_CALL_predicate_bind, address, 8, Place.scratch), EXO_EFAULT, for: "a rule at \(address)"
        )
      }
      // Where there is no page of its own to look at.
      for address in [
        0, 0x10000, Place.scratch + 8, Place.scratch + 4096, exo_kit_start, exo_kit_doorbell, exo_nucleus_idt,
        0x8000_0000_0000, .max,
      ] as [UInt64] {
        expectRefused(
          bind([result], at: address), EXO_EINVAL, EXO_EFAULT, EXO_EPERM, EXO_ENOENT,
          for: "the page at \(address)")
      }
      expectRefused(exocall(EXO_CALL_predicate_bind), EXO_ENOENT, for: "unbinding nothing")

      // While it is bound its page stays.
      let always = [instruction(EXO_RULE_CONSTANT, immediate: 1), result]
      expect(bind(always) == 0, "binding is refused")
      expectRefused(exocall(EXO_CALL_unmap, Place.scratch, 1), EXO_EBUSY, for: "unmapping its page")
      expectRefused(exocall(EXO_CALL_frame_free, page.capability), EXO_EBUSY, for: "freeing its page")
      // Always true: it never sleeps, and keeps the processor no longer for it.
      let end = Clock.now + 200_000_000
      while Clock.now < end { Wakeup.sleep() }

      // Words outside the page are no words: the answer is no, and the timer wakes it.
      for offset: Int32 in [4096, 4089, -8, .max, .min] {
        let far = [instruction(EXO_RULE_WORD, immediate: offset), result]
        expect(bind(far) == 0, "binding is refused")
        sleepUntilTimer("a word at \(offset)")
      }
      // As long as a rule can be.
      var long = [UInt64](repeating: instruction(EXO_RULE_WORD, into: 1), count: 63)
      long.append(result)
      expect(bind(long) == 0, "binding is refused")
      sleepUntilTimer("the longest rule")

      // Another environment changes the answer all the time.
      let odd = [
        instruction(EXO_RULE_WORD), instruction(EXO_RULE_CONSTANT, into: 1, immediate: 1),
        instruction(EXO_RULE_AND, a: 0, b: 1), result,
      ]
      expect(bind(odd) == 0, "binding is refused")
      var child = Child()
      child.give(page, at: Place.mailbox, Allow.write)
      child.start(HOSTILE_COUNT_UP, Place.mailbox)
      for _ in 0..<200 { Wakeup.sleep() }
      exocall(EXO_CALL_environment_end, child.handle, 3)
      expect(child.wait() == .killed(3), "the child ended otherwise")
      expect(exocall(EXO_CALL_predicate_bind) == 0, "unbinding is refused")
      expect(exocall(EXO_CALL_unmap, Place.scratch, 1) == 0, "the page is still pinned")
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }
}

/// Sleeps with nothing to wake it but the timer.
private func sleepUntilTimer(_ what: @autoclosure () -> String) {
  while Events.poll() != nil {}
  Events.setTimer(at: Clock.now + 300_000)
  let end = milliseconds() + patience
  while !Events.hasPending {
    Wakeup.sleep()
    expect(milliseconds() < end, "\(what()): no timer")
  }
}

private func instruction(
  _ operation: Int32, into register: UInt8 = 0, a: UInt8 = 0, b: UInt8 = 0, immediate: Int32 = 0
) -> UInt64 {
  UInt64(UInt8(truncatingIfNeeded: operation)) | UInt64(register) << 8 | UInt64(a) << 16 | UInt64(b) << 24
    | UInt64(UInt32(bitPattern: immediate)) << 32
}
