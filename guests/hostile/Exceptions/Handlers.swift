import ExoABI
import HostileSupport
import LibOS

/// Where exceptions are made to go.
extension Attack {
  static var exceptionHandlers: Attack {
    Attack(
      "exception-handlers",
      "Binds handlers that are no code of one's own, and vectors that are the nucleus's."
    ) {
      Pages(1).map(at: Place.scratch)
      let bad: [UInt64] = [
        0, 1, 0xffff, Place.scratch, Place.scratch + 0x10_0000, exo_nucleus_text, exo_nucleus_text + 0x200,
        exo_nucleus_data,
        exo_nucleus_idt, exo_kit_start, exo_kit_trap, exo_kit_doorbell, exo_kit_tables, exo_kit_submission,
        0x8000_0000_0000,
        0x7fff_ffff_ffff, 0xffff_7fff_ffff_ffff, 1 << 63, .max, stackBottom,
      ]
      for vector: UInt64 in [0, 3, 6, 13, 14] {
        for handler in bad {
          expectRefused(
            exocall(EXO_CALL_exception_bind, vector, handler, stackTop(vector)), EXO_EFAULT,
            for: "vector \(vector) handled at \(handler)")
        }
      }
      // NMI, #DF, #MC and what is reserved; numbers that would be gates beyond the table.
      for vector: UInt64 in [2, 8, 9, 15, 18, 20, 21, 29, 30, 31, 32, 33, 128, 255, 256, 1 << 32, .max] {
        expectRefused(
          exocall(EXO_CALL_exception_bind, vector, hostile_catcher(3), hostile_stack_top(4)), EXO_EINVAL,
          for: "vector \(vector)")
        expectRefused(
          exocall(EXO_CALL_exception_unbind, vector), EXO_EINVAL, for: "unbinding vector \(vector)")
      }
      for flags: UInt64 in [1, 2, 3, 1 << 32, .max] {
        expectRefused(
          exocall(EXO_CALL_exception_bind, 3, hostile_catcher(3), hostile_stack_top(5), flags), EXO_EINVAL,
          for: "flags \(flags)")
      }
      expectRefused(exocall(EXO_CALL_exception_unbind, 3), EXO_ENOENT, for: "unbinding what is not bound")
    }
  }

  private static var stackBottom: UInt64 { exo_stack_top - UInt64(EXO_STACK_PAGES) << 12 }
  private static func stackTop(_ vector: UInt64) -> UInt64 {
    hostile_stack_top(UInt32(vector == 14 ? EXO_IST_PAGE_FAULT : vector == 3 ? EXO_IST_DEBUG : EXO_IST_FAULT))
  }

  /// The handler's page goes after it was bound: each delivery faults on its first instruction, without end, since each
  /// begins at the stack's top. Only the time limit ends it, and no one else notices.
  static var handlerUnmapped: Attack {
    Attack("handler-unmapped", "Unmaps its page-fault handler, then faults for ever: the time limit ends it.")
    {
      let pages = Pages(1).map(at: Place.scratch)
      word(Place.scratch).update(repeating: 0xcccc_cccc_cccc_cccc, count: 512)
      if exocall(EXO_CALL_map, pages.capability, 0, Place.scratch + 0x10_0000, 1, 7) != 0 {
        unable("mapping")
      }
      for vector: UInt64 in [14, 13, 6, 3] {
        if exocall(EXO_CALL_exception_bind, vector, Place.scratch + 0x10_0000, stackTop(vector)) != 0 {
          unable("binding")
        }
      }
      expect(
        exocall(EXO_CALL_unmap, Place.scratch + 0x10_0000, 1) == 0,
        "handler code is pinned without being asked")
      hostile_load(0x128)
      succeeded("a load from nowhere")
    }
  }

  /// A handler that raises its own exception, on the same stack.
  static var nestedFaults: Attack {
    Attack("nested-faults", "Faults in its page-fault handler for ever: the time limit ends it.") {
      if exocall(EXO_CALL_exception_bind, 14, hostile_faulting_handler(), hostile_stack_top(3), 1) != 0 {
        unable("binding")
      }
      if exocall(EXO_CALL_exception_bind, 6, hostile_faulting_handler(), hostile_stack_top(4)) != 0 {
        unable("binding")
      }
      hostile_load(0x128)
      succeeded("a load from nowhere")
    }
  }

  /// Faults as fast as it can while the exokernel changes the gates. A processor that saw half a change would enter ring 0
  /// at an address of this environment's choice, or find no handler.
  static var rebinding: Attack {
    Attack("rebinding", "Faults all the time while its gates are being changed.") {
      catchExceptions()
      let second = hostile_second_breakpoint()
      var tickets: [RingTicket] = []
      for round in 0..<60 {
        let handler = round & 1 == 0 ? second : hostile_catcher(3)
        guard
          let ticket = machineRing.submit(
            RingRequest(EXO_CALL_exception_bind.rawValue, 3, handler, hostile_stack_top(5)))
        else { unable("the ring is full") }
        machineRing.notify()
        for _ in 0..<40 {
          let fault = attempt(hostile_breakpoint)
          expect(fault?.vector == 3, "a breakpoint raised vector \(fault?.vector ?? 0)")
          expect(fault?.cs == UInt64(EXO_USER_CS), "from CS \(fault?.cs ?? 0)")
        }
        tickets.append(ticket)
        if let answer = machineRing.wait(ticket) { expect(answer.result == 0, "binding: \(answer.result)") }
      }
    }
  }

  /// The nucleus's page-fault stub stores below the frame. Its stack is as small as can be, the code that faults has no
  /// stack at all and odd flags, and the address faulted on is the nucleus's own.
  static var stubFault: Attack {
    Attack("stub-fault", "Faults so that the nucleus's stub would fault, if it could.") {
      catchExceptions()
      expect(exocall(EXO_CALL_exception_unbind, 14) == 0, "unbinding")
      Pages(1).map(at: Place.scratch)
      // Right below the stack, nothing is mapped.
      if exocall(EXO_CALL_exception_bind, 14, hostile_catcher(14), Place.scratch + 64, 1) != 0 {
        unable("binding")
      }
      // `hostile_catcher` needs 8 bytes more than the processor and the stub: it faults, on the same stack, for ever, if
      // those are not there. They are: 56 of 64 were used.
      let request = UnsafeMutablePointer<hostile_return>.allocate(capacity: 1)
      for stack: UInt64 in [0, 8, exo_nucleus_data + 0x228, exo_kit_trap + 0x800, 0x8000_0000_0000, .max - 7]
      {
        for flags: UInt64 in [0x202, 0x4_0602, 0x4202] {
          request.pointee = hostile_return(
            rip: exo_nucleus_text + UInt64(EXO_NUCLEUS_PF_ADDRESS_STUB), cs: UInt64(EXO_USER_CS),
            rflags: flags, rsp: stack,
            ss: UInt64(EXO_USER_SS), seen_cs: 0, seen_rflags: 0)
          let fault = attempt(hostile_iret, UInt64(UInt(bitPattern: request)))
          expect(
            fault?.vector == 14 || fault?.vector == 13,
            "vector \(fault?.vector ?? 0) with a stack at \(stack)")
          expect(fault?.cs == UInt64(EXO_USER_CS), "from CS \(fault?.cs ?? 0)")
        }
      }
      for stub: UInt64 in [0, 14 * 16, 0x200, 0x201, 0x203, 0x20d, 0x240, 0x280] {
        expectFault(hostile_call, at: exo_nucleus_text + stub, "calling a stub")
      }
    }
  }

  /// Guaranteed mappings: only of one's own, counted, and given back in full.
  static var guarantees: Attack {
    Attack("guarantees", "Pins what is not its own, more than its quota, twice, and lets go once too often.")
    {
      let pages = Pages(4).map(at: Place.scratch)
      expectRefused(exocall(EXO_CALL_guarantee, Place.scratch, 5, 1), EXO_ENOENT, for: "pinning nothing")
      expectRefused(
        exocall(EXO_CALL_guarantee, Place.scratch, 1, 0), EXO_ENOENT, for: "unpinning what is not pinned")
      expectRefused(exocall(EXO_CALL_guarantee, Place.scratch, 1, 2), EXO_EINVAL, for: "neither")
      // Twice counts once, so that once lets go of it.
      for _ in 0..<3 { exocall(EXO_CALL_guarantee, Place.scratch, 4, 1) }
      expectRefused(exocall(EXO_CALL_unmap, Place.scratch, 4), EXO_EBUSY, for: "unmapping")
      expectRefused(exocall(EXO_CALL_protect, Place.scratch, 1, 0), EXO_EBUSY, for: "protecting")
      expectRefused(exocall(EXO_CALL_frame_free, pages.capability), EXO_EBUSY, for: "freeing")
      expect(exocall(EXO_CALL_guarantee, Place.scratch, 4, 0) == 0, "letting go is refused")
      expectRefused(exocall(EXO_CALL_guarantee, Place.scratch, 4, 0), EXO_ENOENT, for: "letting go twice")
      expect(exocall(EXO_CALL_unmap, Place.scratch, 4) == 0, "still pinned after letting go")
      // Beyond the quota, and again and again within it.
      Pages(512).map(at: Place.scratch + 0x100_0000)
      expectRefused(
        exocall(EXO_CALL_guarantee, Place.scratch + 0x100_0000, 512, 1), EXO_EDQUOT, for: "512 pages")
      for _ in 0..<64 {
        expect(exocall(EXO_CALL_guarantee, Place.scratch + 0x100_0000, 200, 1) == 0, "200 pages are refused")
        expect(exocall(EXO_CALL_guarantee, Place.scratch + 0x100_0000, 200, 0) == 0, "letting go is refused")
      }
      // A child may not pin what is its parent's: `restore` covers the capability, this the mapping.
      expect(exocall(EXO_CALL_frame_free, pages.capability) == 0, "freeing is refused")
    }
  }
}
