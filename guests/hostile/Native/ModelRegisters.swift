import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// Where SYSCALL and SYSENTER lead, what they mask, which features are on and how interrupts come stands in model-specific
/// registers. Ring 3 reads and writes none.
extension Attack {
  static var modelRegisters: Attack {
    Attack(
      "model-registers", "Reads and writes model-specific registers, and looks whether SYSCALL is another."
    ) {
      catchExceptions()
      let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 64)
      words.update(repeating: 0, count: 64)
      let argument = UInt64(UInt(bitPattern: words))
      // Code of this environment's, at whose address ring 0 would go on.
      let own = hostile_transfer_entry_address()
      for index in registers {
        expectPrivileged(hostile_read_register, index, "register \(index) is read")
        for value in [0, .max, own, 0xd01, 0xfee0_0900] {
          words[0] = index
          words[1] = value
          expectPrivileged(hostile_write_register, argument, "register \(index) becomes \(value)")
          expectPrivileged(
            hostile_write_register_late, argument, mayBeUnknown: true,
            "register \(index) becomes \(value) by the later instruction")
        }
        // Lists of registers: indices, and values behind them.
        words[0] = index
        expectPrivileged(
          hostile_read_register_list, argument, mayBeUnknown: true, "a list of registers is read")
        expectPrivileged(
          hostile_write_register_list, argument, mayBeUnknown: true, "a list of registers is written")
        expect(leadsWhereItDid, "after register \(index) SYSCALL leads elsewhere")
      }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  /// SYSENTER's, the features, SYSCALL's, the bases, debugging, machine checks, the interrupt controller's, the hypervisor's.
  private static let registers: [UInt64] = [
    0x10, 0x1b, 0x3a, 0x48, 0x49, 0x8b, 0x174, 0x175, 0x176, 0x179, 0x1a0, 0x1d9, 0x277, 0x2ff, 0x400, 0x6a0,
    0x6a2,
    0x6e0, 0x802, 0x808, 0x80b, 0x830, 0x832, 0x83f, 0xda0, 0xc000_0080, 0xc000_0081, 0xc000_0082,
    0xc000_0083,
    0xc000_0084, 0xc000_0100, 0xc000_0101, 0xc000_0102, 0xc000_0103, 0xc001_0010, 0xc001_0015, 0xc001_0114,
    0xc001_0117,
    0x4b56_4d00, 0x4b56_4d01, 0x4b56_4d02, 0x4b56_4d03, 0x4b56_4d04, 0x4b56_4d06, 0x4000_0000, 0xffff_ffff,
  ]

  private static func expectPrivileged(
    _ code: @convention(c) (UInt64) -> Void, _ argument: UInt64, mayBeUnknown: Bool = false,
    _ what: @autoclosure () -> String
  ) {
    guard let fault = attempt(code, argument) else { succeeded(what()) }
    expect(
      fault.vector == 13 || mayBeUnknown && fault.vector == 6, "\(what()) raises vector \(fault.vector)")
    expect(fault.cs == UInt64(EXO_USER_CS), "\(what()) at CS \(fault.cs)")
  }

  /// A call of the nucleus where it answers any, and nothing bound where it does not.
  private static var leadsWhereItDid: Bool {
    if NucleusCalls.areOffered { return exo_nucleus_call(Int64(EXO_NUCLEUS_CALL_NULL)) == 0 }
    let entry = UnsafeMutablePointer<hostile_way>.allocate(capacity: 1)
    defer { entry.deallocate() }
    entry.pointee = hostile_way(flags: 0x202, rax: 39, rdi: 0, rsi: 0, rdx: 0, after: 0, result: 0)
    let fault = attempt(hostile_enter_by_system_call, UInt64(UInt(bitPattern: entry)))
    return fault.map { $0.vector == 6 || $0.vector == 14 && $0.address & ~0xfff == exo_nucleus_text } ?? false
  }
}
