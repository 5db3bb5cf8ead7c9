import ExoABI
import HostileSupport

/// Flags that ring 3 may set, and those it may not. Each handler must begin with none of the odd ones.
extension Attack {
  static var flags: Attack {
    Attack("flags", "Sets odd flags: I/O privilege, no interrupts, TF, NT, AC, DF, virtual 8086.") {
      catchExceptions()
      let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 8)
      let argument = UInt64(UInt(bitPattern: words))
      func popped(_ flags: UInt64) -> (fault: hostile_fault?, after: UInt64) {
        words[0] = flags
        words[1] = 0
        return (attempt(hostile_popf, argument), words[1])
      }
      // IOPL, IF, VM, VIF, VIP, RF and the reserved ones do not stick.
      for flags: UInt64 in [
        0x3202, 0x3002, 0x2, 0x2_0202, 0x8_0202, 0x10_0202, 0x1_0202, 0xffff_ffff_0000_0202,
      ] {
        let (fault, after) = popped(flags)
        if let fault {
          expect(fault.vector == 13, "flags \(flags) raised vector \(fault.vector)")
        } else {
          expect(after & 0x3000 == 0, "IOPL is \(after >> 12 & 3)")
          expect(after & 0x200 != 0, "interrupts are off")
          expect(after & 0x13_0000 == 0, "flags \(flags) became \(after)")
        }
      }
      // With IOPL, `cli` and ports would be free.
      words[0] = 0x3202
      hostile_popf(argument)
      expect(attempt(hostile_port_read, 0x60)?.vector == 13, "a port after IOPL was asked for")
      // Single-step: the next instruction's end, in a handler that does not step itself.
      let (step, _) = popped(0x302)
      expect(step?.vector == 1, "TF raised \(step?.vector ?? 0)")
      // Alignment checks are an environment's own business.
      words[0] = 0x4_0202
      let misaligned = attempt(hostile_misaligned, argument)
      expect(misaligned?.vector == 17 || isEmulated, "AC raised no alignment fault")
      words[0] = 0x202
      expect(attempt(hostile_misaligned, argument) == nil, "AC outlived its handler")
      // NT: `iretq` would return through a task.
      let request = UnsafeMutablePointer<hostile_return>.allocate(capacity: 1)
      request.pointee = hostile_return(
        rip: 0, cs: UInt64(EXO_USER_CS), rflags: 0x202, rsp: 0, ss: UInt64(EXO_USER_SS), seen_cs: 0,
        seen_rflags: 0)
      let nested = attempt(hostile_iret_nested, UInt64(UInt(bitPattern: request)))
      expect(nested?.vector == 13, "iretq with NT raised vector \(nested?.vector ?? 0)")
      // By iretq: ring 3 can return to ring 3 with odd flags, no more.
      for flags: UInt64 in [0x3202, 0x2, 0x2_0202, 0x18_0202, 0x4202, 0x602, 0x20_0202] {
        request.pointee = hostile_return(
          rip: 0, cs: UInt64(EXO_USER_CS), rflags: flags, rsp: 0, ss: UInt64(EXO_USER_SS), seen_cs: 0,
          seen_rflags: 0)
        if let fault = attempt(hostile_iret, UInt64(UInt(bitPattern: request))) {
          expect([1, 13, 6].contains(fault.vector), "iretq with \(flags) raised vector \(fault.vector)")
        } else {
          expect(request.pointee.seen_rflags & 0x3000 == 0, "iretq set IOPL")
          expect(request.pointee.seen_rflags & 0x200 != 0, "iretq turned interrupts off")
          expect(request.pointee.seen_cs & 3 == 3, "iretq left ring 3")
        }
      }
      // Leaving the processor with them: nothing of it reaches the exokernel. TF raises its exception, then or never.
      for flags: UInt64 in [0x4_0602, 0x24_0ed7, 0x4202, 0x302] {
        words[0] = flags
        if let fault = attempt(hostile_leave_with_flags, argument) {
          expect(fault.vector == 1 && flags == 0x302, "leaving with \(flags) raised vector \(fault.vector)")
        }
        expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
      }
    }
  }

  /// Bases that are no addresses; those that are stay this environment's.
  static var bases: Attack {
    Attack("bases", "Loads FS and GS with bases that are no addresses, and with the nucleus's.") {
      catchExceptions()
      let writes: [@convention(c) (UInt64) -> Void] = [hostile_write_fs_base, hostile_write_gs_base]
      for base: UInt64 in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
        for code in writes {
          guard let fault = attempt(code, base) else {
            // An emulator takes it. KVM must then be able to leave and enter the guest with it.
            if !isEmulated { succeeded("base \(base)") }
            expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
            continue
          }
          expect(fault.vector == 13 || fault.vector == 6, "base \(base) raised vector \(fault.vector)")
        }
      }
      for base: UInt64 in [exo_nucleus_data, exo_nucleus_idt, 0xffff_ffff_8000_0000, 0] {
        for code in writes {
          if let fault = attempt(code, base) {
            expect(fault.vector == 6, "base \(base) raised vector \(fault.vector)")
          }
        }
        expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
      }
    }
  }
}
