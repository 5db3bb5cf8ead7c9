import ExoABI
import HostileSupport
import LibOS

/// Attacks by events and on the division of time.
extension Attack {
  static var events: [Attack] { [eventHandlers, slices, allSlices, predicates] + storms }

  /// Handlers and stacks that are none, lies about what was taken, floods, and events that come while the processor is in an
  /// odd state. The exokernel itself pushes the frame: it must not push what the environment may not write.
  static var eventHandlers: Attack {
    Attack("events", "Binds event handlers where none can be, lies about what it took, floods a child.") {
      catchExceptions()
      Pages(1).map(at: Place.scratch, Allow.read)
      let stack = Pages(1).map(at: Place.scratch + 0x20_0000)
      let top = Place.scratch + 0x20_0000 + 4096
      let handler = hostile_event_handler()
      let badStacks: [UInt64] = [
        exo_nucleus_idt + 64, exo_nucleus_data + 0x200, exo_kit_start + 4096, exo_kit_events + 4096,
        exo_kit_trap + 4096,
        exo_kit_completion + 4096, exo_kit_doorbell + 128, exo_kit_tables + 4096, 0, 48, 0x10000,
        Place.scratch + 4096,
        Place.scratch + 0x10_0000, top + 16, top - 8, 0x8000_0000_0000, .max, 1 << 63,
      ]
      for stack in badStacks {
        expectRefused(
          exocall(EXO_CALL_event_bind, handler, stack, 31), EXO_EFAULT, EXO_EPERM, EXO_ENOENT,
          for: "a stack at \(stack)")
      }
      for handler in [
        1, 0xffff, Place.scratch, exo_nucleus_text, exo_kit_trap, exo_kit_doorbell, 0x8000_0000_0000, .max,
      ] {
        expectRefused(
          exocall(EXO_CALL_event_bind, handler, top, 31), EXO_EFAULT, for: "a handler at \(handler)")
      }
      for kinds: UInt64 in [128, 255, 1 << 32, .max] {
        expectRefused(exocall(EXO_CALL_event_bind, handler, top, kinds), EXO_EINVAL, for: "kinds \(kinds)")
      }
      expectRefused(exocall(EXO_CALL_event_bind, 0), EXO_ENOENT, for: "unbinding nothing")

      // What was taken, told wrongly: believed only where it can be true.
      for lie: UInt32 in [1000, .max, 0x8000_0000, 127, 3] {
        let before = hostile_read32(exo_kit_events)
        hostile_write32(exo_kit_trap + UInt64(EXO_CONTROL_OFFSET) + 4, lie)
        expect(fireTimer(after: before), "after \(lie) the timer's event is lost")
        expect(hostile_read32(exo_kit_events) == before + 1, "after \(lie) the ring jumped")
      }
      takeAll()

      // Delivered with odd flags set, and in 32-bit code where there is any.
      expect(exocall(EXO_CALL_event_bind, handler, top, 31) == 0, "binding is refused")
      expectRefused(
        exocall(EXO_CALL_unmap, Place.scratch + 0x20_0000, 1), EXO_EBUSY, for: "unmapping its stack")
      expectRefused(exocall(EXO_CALL_frame_free, stack.capability), EXO_EBUSY, for: "freeing its stack")
      let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 2)
      for flags: UInt64 in [0x202, 0x4_0602, 0x4202, 0x20_0ad7] {
        let before = hostile_events_seen()
        words[0] = flags
        words[1] = before
        exocall(EXO_CALL_timer_set, Clock.now + 300_000)
        if let fault = attempt(hostile_await_event, UInt64(UInt(bitPattern: words))) {
          succeeded("flags \(flags): vector \(fault.vector) at \(fault.rip)")
        }
        expect(hostile_events_seen() == before + 1, "flags \(flags): no event, or more")
        takeAll()
      }
      let request = UnsafeMutablePointer<hostile_return>.allocate(capacity: 1)
      request.pointee = hostile_return(
        rip: hostile_compatibility_code(UInt32(HOSTILE_32_SPIN)), cs: 0x2b, rflags: 0x202, rsp: 0x8000,
        ss: UInt64(EXO_USER_SS), seen_cs: 0, seen_rflags: 0)
      exocall(EXO_CALL_timer_set, Clock.now + 300_000)
      expect(attempt(hostile_iret, UInt64(UInt(bitPattern: request))) != nil, "32-bit code came back")
      takeAll()
      expect(attempt(hostile_port_read, 0x60)?.vector == 13, "a port is readable")

      // More than a child's ring holds; then to the dead.
      var child = Child()
      child.start(HOSTILE_SPIN)
      exocalls(400) {
        RingRequest(EXO_CALL_event_post.rawValue, child.handle, UInt64($0))
      } answer: { _, answer in
        expect(answer.result == 0 || answer.result == -Int64(EXO_ENOSPC), "posting: \(answer.result)")
      }
      exocall(EXO_CALL_environment_end, child.handle, 3)
      expect(child.waitForEnd() == .killed(3), "the child ended otherwise")
      expectRefused(exocall(EXO_CALL_event_post, child.handle, 1), EXO_ENOENT, for: "posting to the dead")
      expect(exocall(EXO_CALL_event_bind, 0) == 0, "unbinding is refused")
      expect(exocall(EXO_CALL_unmap, Place.scratch + 0x20_0000, 1) == 0, "the stack is still pinned")
      // It ends with a timer running and a child behind.
      exocall(EXO_CALL_timer_set, Clock.now + 1_000_000)
      var orphan = Child()
      orphan.start(HOSTILE_SPIN)
    }
  }

  /// Has the timer go off and waits for its event.
  private static func fireTimer(after posted: UInt32) -> Bool {
    exocall(EXO_CALL_timer_set, 1)
    let end = milliseconds() + patience
    while hostile_read32(exo_kit_events) == posted { if milliseconds() > end { return false } }
    return true
  }
  private static func takeAll() {
    hostile_write32(exo_kit_trap + UInt64(EXO_CONTROL_OFFSET) + 4, hostile_read32(exo_kit_events))
    hostile_write32(exo_kit_trap + UInt64(EXO_CONTROL_OFFSET), 0)
  }

  static var slices: Attack {
    Attack("slices", "Takes slots that are none, not free, or not its own to use.") {
      let any = UInt64.max
      // The machine has at most two, fewer where the host has one.
      var processors: UInt64 = 0
      while true {
        let slot = exocall(EXO_CALL_slices_allocate, processors, any, 1)
        if slot < 0 { break }
        exocall(EXO_CALL_capability_drop, UInt64(slot))
        processors += 1
      }
      expect((1...2).contains(processors), "\(processors) processors")
      for (processor, slot, count): (UInt64, UInt64, UInt64) in [
        (processors, any, 1), (1023, any, 1), (1024, any, 1), (any, any, 1), (0, 64, 1), (0, 63, 2),
        (0, 0, 65),
        (0, any, 65),
        (0, any, 0), (0, any, any), (0, any - 1, 1), (0, 1, any),
      ] {
        expectRefused(
          exocall(EXO_CALL_slices_allocate, processor, slot, count), EXO_EINVAL,
          for: "\(count) slots from \(slot) of processor \(processor)")
      }
      var owned: [UInt64] = []
      for processor in 0..<processors {
        var result: Int64 = 1
        while result > 0 {
          result = exocall(EXO_CALL_slices_allocate, processor, any, 4)
          if result > 0 { owned.append(UInt64(result)) }
        }
        expectRefused(result, EXO_ENOSPC, for: "one more slot")
        expectRefused(
          exocall(EXO_CALL_slices_allocate, processor, 0, 1), EXO_EBUSY, EXO_ENOSPC, for: "a slot taken")
      }
      expect(owned.count < 32, "no slot is left to others")
      let child = Child()
      let second = Child()
      for capability in owned {
        for (first, count) in [
          (UInt64(4), UInt64(1)), (0, 5), (3, 2), (64, 1), (65, 1), (any, 1), (0, 0), (0, any),
        ] {
          expectRefused(
            exocall(EXO_CALL_slices_bind, capability, first, count), EXO_ERANGE, EXO_EINVAL,
            for: "\(count) slots from \(first) of four")
        }
        // To itself or a child, if they run there.
        for receiver in [0, child.handle, second.handle] {
          let result = exocall(EXO_CALL_slices_bind, capability, 0, 4, receiver)
          expect(result == 0 || result == -Int64(EXO_EINVAL), "binding: \(result)")
        }
        expectRefused(exocall(EXO_CALL_slices_bind, capability, 0, 4, capability), EXO_EBADF, for: "to slots")
      }
      for capability in owned {
        expect(exocall(EXO_CALL_capability_drop, capability) == 0, "giving back is refused")
      }
      let again = exocall(EXO_CALL_slices_allocate, 0, 0, 1)
      expect(again > 0, "what was given back is lost: \(again)")
    }
  }

  /// Owns as much of its processor as it can, and never lets go by itself.
  static var allSlices: Attack {
    Attack("all-slices", "Takes every slot it can and spins: others have their turns all the same.") {
      for processor: UInt64 in 0..<2 {
        while true {
          let slot = exocall(EXO_CALL_slices_allocate, processor, .max, 1)
          if slot < 0 { break }
          exocall(EXO_CALL_slices_bind, UInt64(slot), 0, 1)
        }
      }
      while true { hostile_pause() }
    }
  }
}
