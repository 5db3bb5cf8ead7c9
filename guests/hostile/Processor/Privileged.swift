import ExoABI
import HostileSupport

/// Every instruction that is not an environment's: the processor, or KVM in its place, must raise an exception, and what
/// the environment sees must be that exception.
extension Attack {
  static var privileged: Attack {
    Attack("privileged", "Executes every privileged instruction.") {
      catchExceptions()
      Pages(1).map(at: Place.scratch)
      var index: UInt32 = 0
      while let row = hostile_privileged(index) {
        let name = String(cString: row.pointee.name)
        if let fault = attempt(row.pointee.code, Place.scratch) {
          expect(
            row.pointee.allowed >> UInt32(fault.vector) & 1 == 1, "\(name) raised vector \(fault.vector)")
          expect(fault.cs == UInt64(EXO_USER_CS), "\(name) was at CS \(fault.cs)")
        } else {
          expect(row.pointee.allowed >> 31 == 1, "\(name) was carried out")
        }
        index += 1
      }
      expect(index > 60, "only \(index) instructions")
      // A nucleus or another environment that is off balance now would show here.
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  /// The same with nothing bound.
  static var halt: Attack {
    Attack("halt", "Halts the processor with no handler: a general protection fault ends it.") {
      hostile_privileged(0)?.pointee.code(0)
      succeeded("hlt")
    }
  }

  /// The I/O map lies past the task segment's limit: no port is an environment's, the nucleus's least of all.
  static var ports: Attack {
    Attack("ports", "Reads and writes ports: the nucleus's, well-known ones, and others at random.") {
      catchExceptions()
      let known: [UInt64] = [UInt64(EXO_NUCLEUS_PORT), 0, 0x20, 0x60, 0x64, 0x70, 0x80, 0xcf8, 0x3f8, 0xffff]
      var numbers = Numbers(state: 0xfeed_f00d_dead_beef)
      for port in known + (0..<54).map({ _ in numbers.next() & 0xffff }) {
        guard let read = attempt(hostile_port_read, port) else { succeeded("port \(port) was read") }
        expect(read.vector == 13, "reading port \(port) raised vector \(read.vector)")
        guard let write = attempt(hostile_port_write, port) else { succeeded("port \(port) was written") }
        expect(write.vector == 13, "writing port \(port) raised vector \(write.vector)")
      }
    }
  }
}
