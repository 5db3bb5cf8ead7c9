import ExoABI
import HostileSupport

/// Selectors of every kind in every segment register, and returns to other rings and modes.
extension Attack {
  static var segments: Attack {
    Attack("segments", "Loads the nucleus's, absent, system and local selectors, and returns to ring 0.") {
      catchExceptions()
      let loads: [@convention(c) (UInt64) -> Void] = [
        hostile_load_ds, hostile_load_es, hostile_load_fs, hostile_load_gs, hostile_load_ss,
      ]
      // PVM runs ring 3 under the host's own descriptor table, where other user segments exist: loading one is allowed,
      // and gives nothing. Whatever is loaded, the ring stays 3.
      let selectors: [UInt64] = [
        0, 1, 2, 3, 0x08, 0x0b, 0x10, 0x13, 0x18, 0x1b, 0x20, 0x23, 0x28, 0x2b, 0x30, 0x33, 0x38, 0x3b, 0x40,
        0x43, 0x48,
        0x4b, 0x50, 0x53, 0x58, 0x5b, 0x04, 0x07, 0x0c, 0x0f, 0x78, 0x7b, 0x80, 0xfff8, 0xfffb, 0xffff,
      ]
      for selector in selectors {
        for (index, load) in loads.enumerated() {
          if let fault = attempt(load, selector) {
            expect(
              (10...13).contains(fault.vector),
              "selector \(selector) in register \(index): vector \(fault.vector)")
            expect(fault.cs & 3 == 3, "in ring \(fault.cs & 3)")
          } else {
            // The privilege of a stack is the ring's.
            expect(index != 4 || selector & 3 == 3, "SS took selector \(selector)")
          }
          _ = attempt(hostile_restore_segments)
        }
      }
      for selector: UInt64 in [0x08, 0x10, 0x13, 0x18, 0x30, 0x40, 0x43, 0x50, 0x53, 0, 3, 0x07, 0xfffb] {
        guard let fault = attempt(hostile_far_return, selector) else {
          succeeded("far return to \(selector)")
        }
        expect(
          [10, 11, 12, 13, 6].contains(fault.vector), "far return to \(selector): vector \(fault.vector)")
        expect(fault.cs & 3 == 3, "far return to \(selector) reached ring \(fault.cs & 3)")
      }
      let request = UnsafeMutablePointer<hostile_return>.allocate(capacity: 1)
      let returns: [(cs: UInt64, ss: UInt64)] = [
        (0x10, 0x18), (0x13, 0x2b), (0x10, 0x2b), (0x33, 0x18), (0x33, 0x1b), (0x33, 0x10), (0x30, 0x28),
        (0x33, 0x28),
        (0x40, 0x2b), (0x43, 0x2b), (0, 0x2b), (3, 0x2b), (0x53, 0x2b), (0x33, 0x53), (0x33, 0x43),
        (0x33, 0x07),
        (0xfffb, 0x2b), (0x33, 0xfffb), (0x11, 0x19), (0x32, 0x2a),
      ]
      for (cs, ss) in returns {
        // Where it leads if it is let: the landing of `hostile_iret`, which tells the ring.
        request.pointee = hostile_return(
          rip: 0, cs: cs, rflags: 0x202, rsp: 0, ss: ss, seen_cs: 0, seen_rflags: 0)
        if let fault = attempt(hostile_iret, UInt64(UInt(bitPattern: request))) {
          expect([10, 11, 12, 13, 6].contains(fault.vector), "iretq to \(cs), \(ss): vector \(fault.vector)")
          expect(fault.cs & 3 == 3, "iretq to \(cs), \(ss) reached ring \(fault.cs & 3)")
        } else {
          expect(request.pointee.seen_cs & 3 == 3, "iretq to \(cs), \(ss) reached ring 0")
          expect(attempt(hostile_port_read, 0x60)?.vector == 13, "a port is readable")
        }
        _ = attempt(hostile_restore_segments)
      }
      // To ring 3, but nowhere.
      for rip in [exo_nucleus_text, 0x8000_0000_0000, .max, 0, exo_kit_doorbell] {
        request.pointee = hostile_return(
          rip: rip, cs: UInt64(EXO_USER_CS), rflags: 0x202, rsp: exo_nucleus_data + 0x200,
          ss: UInt64(EXO_USER_SS),
          seen_cs: 0, seen_rflags: 0)
        guard let fault = attempt(hostile_iret, UInt64(UInt(bitPattern: request))) else {
          succeeded("iretq to \(rip)")
        }
        expect(fault.vector == 14 || fault.vector == 13, "iretq to \(rip): vector \(fault.vector)")
      }
    }
  }

  /// 32-bit code. The machine has no 32-bit code segment, so hardware refuses the return; PVM takes a data selector for
  /// one (its host's), and then the exceptions that 32-bit code raises come in like any other.
  static var compatibility: Attack {
    Attack("compatibility", "Returns into 32-bit mode and raises exceptions there.") {
      catchExceptions()
      let request = UnsafeMutablePointer<hostile_return>.allocate(capacity: 1)
      for selector: UInt64 in [0x2b, 0x23, 0x28, 0x20, 0x1b, 0x53] {
        for which in 0..<UInt32(HOSTILE_32_COUNT) {
          request.pointee = hostile_return(
            rip: hostile_compatibility_code(which), cs: selector, rflags: 0x202, rsp: 0x8000,
            ss: UInt64(EXO_USER_SS),
            seen_cs: 0, seen_rflags: 0)
          guard let fault = attempt(hostile_iret, UInt64(UInt(bitPattern: request))) else {
            succeeded("32-bit code \(which) by selector \(selector)")
          }
          expect(
            [6, 10, 11, 12, 13, 14].contains(fault.vector), "32-bit code \(which): vector \(fault.vector)")
          expect(fault.cs & 3 == 3, "32-bit code \(which) reached ring \(fault.cs & 3)")
        }
      }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }
}
