import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// SYSCALL: into an environment's own handler, and into the nucleus.
extension Attack {
  /// A handler that is none, and one that gets what the caller had and no more than ring 3.
  static var systemCallHandler: Attack {
    Attack("system-call-handler", "Binds SYSCALL where it cannot lead, and looks at what its handler gets.") {
      catchExceptions()
      Pages(1).map(at: Place.scratch)
      for address in [
        exo_nucleus_text, exo_nucleus_text + UInt64(EXO_NUCLEUS_SYSCALL_STUB), exo_nucleus_scratch, 1, 0xffff,
        Place.scratch, Place.scratch + 0x10_0000, exo_kit_trap, exo_kit_tables, 0x8000_0000_0000, .max,
      ] {
        expectRefused(exocall(EXO_CALL_system_call_bind, address), EXO_EFAULT, for: "a handler at \(address)")
      }
      expectRefused(exocall(EXO_CALL_system_call_bind, 0), EXO_ENOENT, for: "unbinding nothing")
      expect(exocall(EXO_CALL_system_call_bind, hostile_system_call_handler()) == 0, "binding is refused")
      let seen = UnsafeMutablePointer<hostile_system_call>.allocate(capacity: 1)
      let argument = UInt64(UInt(bitPattern: seen))
      for number: UInt64 in [0, 1, 39, 60, 231, 0xffff_ffff, 1 << 62, UInt64(Int64.max)] {
        // With DF, AC, NT and TF set too: the handler starts without, and knows.
        for flags: UInt64 in [0x202, 0x602, 0x4_0202, 0x4202, 0x302, 0x24_0ed7] {
          seen.pointee = hostile_system_call()
          seen.pointee.number = number
          seen.pointee.flags = flags
          // A trap after the instruction is an environment's own business.
          if let fault = attempt(hostile_make_system_call, argument) {
            expect(
              fault.vector == 1 && flags & 0x100 != 0,
              "number \(number), flags \(flags): vector \(fault.vector) at \(fault.rip)")
            continue
          }
          let call = seen.pointee
          expect(call.count == 1, "number \(number): \(call.count) calls")
          expect(call.rax == number, "number \(number) arrives as \(call.rax)")
          expect(call.rcx == call.after, "number \(number): RCX is \(call.rcx), not \(call.after)")
          expect(call.rsp == call.stack, "number \(number): RSP is \(call.rsp), not \(call.stack)")
          expect(call.others == 0x1f, "number \(number): other registers changed: \(call.others)")
          expect(call.cs & 3 == 3, "number \(number): in ring \(call.cs & 3)")
          // PVM adds IF and RF at will.
          let odd: UInt64 = 0x4_4500
          expect(call.r11 & odd == flags & odd, "number \(number): R11 is \(call.r11), flags \(flags)")
          expect(call.inside & odd == 0, "number \(number): flags inside are \(call.inside)")
          expect(call.inside & 0x3000 == 0, "number \(number): IOPL inside")
          expect(attempt(hostile_port_read, 0x60)?.vector == 13, "a port is readable")
        }
      }
      expect(exocall(EXO_CALL_system_call_bind, 0) == 0, "unbinding is refused")
      seen.pointee = hostile_system_call()
      seen.pointee.flags = 0x202
      let fault = attempt(hostile_make_system_call, argument)
      expect(fault?.vector == 14 || fault?.vector == 6, "unbound it raises \(fault?.vector ?? 99)")
    }
  }

  /// The nucleus changes protection without the exokernel: within what was granted, of one's own pages, by entries that are
  /// what the caller says they are.
  static var nucleusCalls: Attack {
    Attack("nucleus-calls", "Has the nucleus write page-table entries it must not.") {
      catchExceptions()
      guard NucleusCalls.areOffered else { return }
      expect(exo_nucleus_call(Int64(EXO_NUCLEUS_CALL_NULL)) == 0, "the null call is refused")
      for number: Int64 in [-3, -4, -1000, .min, .min + 1, -0x1_0000_0000] {
        let result = exo_nucleus_call(number)
        expect(result == UInt64(bitPattern: -Int64(EXO_ENOSYS)), "call \(number): \(result)")
      }
      ownPage()
      moreThanGranted()
      othersEntries()
      // The window is the nucleus's, its scratch page the environment's own.
      for address in [exo_nucleus_tables, exo_nucleus_tables + (Place.scratch >> 12) * 8, exo_nucleus_data] {
        expectFault(hostile_load, at: address, "load")
        expectFault(hostile_store, at: address, "store")
      }
      expectFault(hostile_call, at: exo_nucleus_scratch, "call")
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  private static func entry(_ address: UInt64) -> UInt64 {
    hostile_read(exo_kit_tables + (address & 0xffff_ffff_f000) >> 12 * 8)
  }
  private static let present: UInt64 = 1
  private static let writable: UInt64 = 2
  private static let noExecute: UInt64 = 1 << 63

  /// Lowered and restored, it takes effect at once.
  private static func ownPage() {
    let pages = Pages(1).map(at: Place.scratch)
    for _ in 0..<50 {
      hostile_store(Place.scratch)
      var old = entry(Place.scratch)
      expect(exo_nucleus_protect(Place.scratch, old, old & ~writable) == old, "lowering is refused")
      expectFault(hostile_store, at: Place.scratch, "store")
      hostile_load(Place.scratch)
      old = entry(Place.scratch)
      let none = old & ~present | noExecute
      expect(exo_nucleus_protect(Place.scratch, old, none) == old, "taking all is refused")
      expectFault(hostile_load, at: Place.scratch, "load")
      old = entry(Place.scratch)
      expect(
        exo_nucleus_protect(Place.scratch + 123, old, old | present | writable) == old, "restoring is refused"
      )
    }
    // What is not true any more is not acted upon.
    let old = entry(Place.scratch)
    let stale = old ^ 1 << 6
    expect(exo_nucleus_protect(Place.scratch, stale, stale & ~writable) == old, "a stale entry is taken")
    expect(entry(Place.scratch) == old, "a stale entry changed something")
    expect(exocall(EXO_CALL_unmap, Place.scratch, 1) == 0, "unmapping is refused")
    let gone = exo_nucleus_protect(Place.scratch, old, old & ~writable)
    expect(gone == 0, "what was unmapped is \(gone)")
    expect(entry(Place.scratch) == 0, "what was unmapped is back")
    exocall(EXO_CALL_frame_free, pages.capability)
  }

  private static func moreThanGranted() {
    for (granted, wanted) in [
      (Allow.read, writable), (Allow.read, noExecute), (Allow.write, noExecute), (Allow.code, writable),
    ] {
      // What is granted is what the capability allows.
      let pages = Pages(1)
      let less = exocall(EXO_CALL_capability_derive, pages.capability, 0, 0, granted)
      expect(less > 0, "deriving is refused: \(less)")
      let mapped = exocall(EXO_CALL_map, UInt64(less), 0, Place.scratch, 1, granted)
      expect(mapped == 0, "mapping is refused: \(mapped)")
      let old = entry(Place.scratch)
      let more = wanted == noExecute ? old & ~noExecute : old | writable
      expect(exo_nucleus_protect(Place.scratch, old, more) == 0, "more than \(granted) is given")
      expect(entry(Place.scratch) == old, "more than \(granted) stands there")
      exocall(EXO_CALL_unmap, Place.scratch, 1)
      exocall(EXO_CALL_frame_free, pages.capability)
    }
    let pages = Pages(1).map(at: Place.scratch)
    hostile_store(Place.scratch)
    let old = entry(Place.scratch)
    // Each bit by itself but the three that may change, and writable without being present.
    for bit in UInt64(0)..<64 where bit != 0 && bit != 1 && bit != 63 {
      expect(exo_nucleus_protect(Place.scratch, old, old ^ 1 << bit) == 0, "bit \(bit) is changed")
    }
    expect(exo_nucleus_protect(Place.scratch, old, old & ~present) == 0, "writable and absent")
    expect(exo_nucleus_protect(Place.scratch, old, 0) == 0, "the entry is emptied")
    expect(exo_nucleus_protect(Place.scratch, 0, old) == 0, "an entry is made up")
    expect(entry(Place.scratch) == old, "the entry has changed")
    exocall(EXO_CALL_unmap, Place.scratch, 1)
    exocall(EXO_CALL_frame_free, pages.capability)
  }

  /// Pinned pages, the kit, the tables' links, the nucleus: as they are, and as if they had been granted.
  private static func othersEntries() {
    let stack = hostile_stack_top(3) - 64
    let levels = [
      exo_kit_tables + (Place.scratch >> 12) * 8, 0x7f3f_8000_0000 + (Place.scratch >> 21) * 8,
      0x7f3f_9fc0_0000 + (Place.scratch >> 30) * 8, 0x7f3f_9fcf_e000 + (Place.scratch >> 39) * 8,
    ]
    // Something must be mapped there for the lower levels to exist.
    let pages = Pages(1).map(at: Place.scratch)
    for address in [stack, exo_kit_start, exo_kit_submission, exo_kit_trap, exo_kit_completion] {
      let old = entry(address)
      for new in [old & ~writable, old & ~present | noExecute, old | writable, old & ~noExecute]
      where new != old {
        expect(exo_nucleus_protect(address, old, new) == 0, "the entry of \(address) is exchanged")
        let lie = old | 0xe00
        let lied = exo_nucleus_protect(address, lie & ~(1 << 52), (new | 0xe00) & ~(1 << 52))
        expect(lied & ~0x60 == old & ~0x60 || lied == 0, "a lie about \(address): \(lied)")
        expect(entry(address) & ~0x60 == old & ~0x60, "the entry of \(address) has changed")
      }
    }
    // The nucleus's own window, by which the links themselves are entries.
    func slot(of address: UInt64) -> UInt64 {
      exo_nucleus_tables + (address & 0xffff_ffff_f000) >> 12 * 8
    }
    var address = Place.scratch
    for level in levels[1...] {
      let link = hostile_read(level)
      // The entry of the page that the entry below lies in.
      address = slot(of: address)
      expect(exo_nucleus_protect(address, link, link & ~writable) == 0, "a link is exchanged")
      let lied = exo_nucleus_protect(address, link | 0xe00, link & ~writable | 0xe00)
      expect(lied & ~0x60 == link & ~0x60, "a lie about a link: \(lied), not \(link)")
      expect(hostile_read(level) & ~0x60 == link & ~0x60, "a link has changed")
    }
    exocall(EXO_CALL_unmap, Place.scratch, 1)
    exocall(EXO_CALL_frame_free, pages.capability)
  }
}
