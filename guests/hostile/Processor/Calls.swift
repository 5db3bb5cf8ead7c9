import ExoABI
import HostileSupport

/// The instructions by which a program calls its kernel.
extension Attack {
  /// `int n` for every n. Hardware raises #GP (the gates' privilege is 0, save #BP's, and the table ends at 32). PVM raises
  /// #UD for most, #GP for some, passes over one (26) as if it were nothing, and heeds no gate's privilege, so that a bound
  /// vector may be delivered as itself: to this environment, which forges nothing but its own frame. Whichever it is, the
  /// ring stays 3.
  static var interrupts: Attack {
    Attack("interrupts", "Raises every interrupt number by software.") {
      catchExceptions()
      var passed = 0
      for number in 0..<UInt32(256) {
        let code = unsafeBitCast(
          UInt(hostile_interrupt(number)), to: (@convention(c) (UInt64) -> Void).self)
        if let fault = attempt(code) {
          expect(
            [6, 13, UInt64(number)].contains(fault.vector), "int \(number) raised vector \(fault.vector)")
          expect(fault.cs == UInt64(EXO_USER_CS), "int \(number) was at CS \(fault.cs)")
        } else {
          passed += 1
        }
        expect(attempt(hostile_port_read, 0x60)?.vector == 13, "a port is readable after int \(number)")
        expect(exocall(EXO_CALL_null) == 0, "the ring is gone after int \(number)")
      }
      expect(passed < 4, "\(passed) numbers did something, or nothing")
    }
  }

  /// SYSCALL that nothing is bound to is a jump at ring 3 to the nucleus, whose page is no environment's: a page fault
  /// there. Where the nucleus answers calls, a negative number comes back instead, to an invalid instruction. SYSENTER finds
  /// no code segment. Neither may reach the host's kernel.
  static var systemCalls: Attack {
    Attack("system-calls", "SYSCALL and SYSENTER with hostile registers.") {
      catchExceptions()
      let registers = UnsafeMutablePointer<UInt64>.allocate(capacity: 6)
      let stacks: [UInt64] = [
        0, exo_nucleus_data + 0x800, 0xffff_ffff_8000_0000, 0x8000_0000_0000, exo_kit_doorbell, 1,
      ]
      // Numbers that would mean something to a Linux: exit, exit_group, kill, reboot, getpid, write.
      for (number, first): (UInt64, UInt64) in [
        (60, 0), (231, 0), (62, 1), (169, 0xfee1_dead), (39, 0), (1, 1), (.max, 0),
      ] {
        for stack in stacks {
          for index in 0..<5 { registers[index] = first }
          registers[0] = number
          registers[5] = stack
          let argument = UInt64(UInt(bitPattern: registers))
          guard let call = attempt(hostile_syscall, argument) else { succeeded("syscall \(number)") }
          expect(
            call.vector == 6 || call.vector == 13
              || call.vector == 14 && call.address & ~0xfff == exo_nucleus_text && call.cs & 3 == 3,
            "syscall \(number) raised vector \(call.vector) at \(call.rip), address \(call.address)")
          guard let enter = attempt(hostile_sysenter, argument) else { succeeded("sysenter \(number)") }
          expect(
            enter.vector == 13 || enter.vector == 6,
            "sysenter \(number) raised vector \(enter.vector) at \(enter.rip)")
        }
      }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }
}
