import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// Ring 3 sets AC, DF, NT and TF as it likes. None of them goes along into ring 0, and none of them decides whether a frame can be
/// pushed on a page of ring 3, as AC would where the processor kept ring 0 from such pages (SMAP).
extension Attack {
  static var oddEntries: Attack {
    Attack("odd-entries", "Enters every gate and every stub of the nucleus with every odd flag.") {
      catchExceptions()
      gatesWithFlags()
      defaultStubsWithFlags()
      transfersWithFlags()
      if NucleusCalls.areOffered {
        nucleusCallsWithFlags()
        trapsInShadow()
      }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  /// IF with AC, DF, NT, ID, and all of them; TF where a trap is told from what is tried.
  private static let quiet: [UInt64] = [0x202, 0x4_0202, 0x602, 0x4202, 0x20_0202, 0x24_4602]
  private static let trapping: [UInt64] = [0x302, 0x4_0302, 0x24_4702]
  private static let alignmentAndDirection: UInt64 = 0x4_0400
  private typealias Code = @convention(c) (UInt64) -> Void
  private static let raised: [(vector: UInt64, code: Code)] = [
    (0, hostile_raise_divide), (3, hostile_raise_breakpoint), (6, hostile_raise_invalid),
    (13, hostile_raise_privileged), (14, hostile_raise_fault),
  ]

  private static func entry(
    _ flags: UInt64, rax: UInt64 = 0, rdi: UInt64 = 0, rsi: UInt64 = 0, rdx: UInt64 = 0
  ) -> UnsafeMutablePointer<hostile_way> {
    let entry = UnsafeMutablePointer<hostile_way>.allocate(capacity: 1)
    entry.pointee = hostile_way(flags: flags, rax: rax, rdi: rdi, rsi: rsi, rdx: rdx, after: 0, result: 0)
    return entry
  }

  /// Delivered alike, with the flags as they were in the frame. Page faults come by the nucleus's stub.
  private static func gatesWithFlags() {
    for flags in quiet {
      let words = entry(flags)
      defer { words.deallocate() }
      for (vector, code) in raised {
        let fault = attempt(code, UInt64(UInt(bitPattern: words)))
        expect(fault?.vector == vector, "vector \(vector), flags \(flags): vector \(fault?.vector ?? 99)")
        expect(fault?.cs == UInt64(EXO_USER_CS), "vector \(vector), flags \(flags): CS \(fault?.cs ?? 0)")
        let kept = (fault?.rflags ?? 0) & alignmentAndDirection
        expect(kept == flags & alignmentAndDirection, "vector \(vector), flags \(flags): flags \(kept)")
      }
    }
  }

  /// Unbound, in a child: it ends, by that name.
  private static func defaultStubsWithFlags() {
    let bodies: [LibOS.Child.Body] = [
      { raiseWith($0, hostile_raise_divide) }, { raiseWith($0, hostile_raise_breakpoint) },
      { raiseWith($0, hostile_raise_invalid) }, { raiseWith($0, hostile_raise_privileged) },
      { raiseWith($0, hostile_raise_fault) },
    ]
    for flags in [0x202, 0x24_4602] as [UInt64] {
      for (index, body) in bodies.enumerated() {
        do throws(ExocallError) {
          var child = try LibOS.Child.make(EnvironmentQuota(frames: 96, bindings: 32), argument: flags, body)
          try child.start()
          let end = try child.wait()
          guard case .faulted(let vector, _) = end, UInt64(vector) == raised[index].vector else {
            succeeded("vector \(raised[index].vector) with flags \(flags): \(end)")
          }
        } catch { unable("a child: \(error)") }
      }
    }
  }

  private static func transfersWithFlags() {
    // Transfers take that vector.
    expect(exocall(EXO_CALL_exception_unbind, 4) == 0, "unbinding is refused")
    expect(exocall(EXO_CALL_transfer_bind, hostile_noting_entry_address()) == 0, "binding is refused")
    for flags in quiet + trapping {
      let words = entry(flags, rax: 5)
      defer { words.deallocate() }
      if let fault = attempt(hostile_enter_by_transfer, UInt64(UInt(bitPattern: words))) {
        expect(
          fault.vector == 1 && flags & 0x100 != 0, "a transfer with flags \(flags): vector \(fault.vector)")
        expect(fault.cs == UInt64(EXO_USER_CS), "a transfer with flags \(flags) traps at CS \(fault.cs)")
        continue
      }
      expect(
        words.pointee.result & UInt64(EXO_TRANSFER_KIND_MASK) == UInt64(EXO_TRANSFER_REFUSED),
        "a transfer with flags \(flags): \(words.pointee.result)")
      // One's own as one left; an interpreter forgets some.
      expect(
        words.pointee.after & 0x24_7500 & ~flags == 0,
        "a transfer with flags \(flags) arrives with \(words.pointee.after)")
    }
    expect(exocall(EXO_CALL_transfer_bind, 0) == 0, "unbinding is refused")
  }

  /// SYSRETQ brings back the caller's own flags, and they have done nothing in between.
  private static func nucleusCallsWithFlags() {
    let pages = Pages(1).map(at: Place.scratch)
    hostile_store(Place.scratch)
    let slot = exo_kit_tables + (Place.scratch >> 12) * 8
    for flags in quiet + trapping {
      let old = hostile_read(slot)
      let calls: [(number: Int64, rsi: UInt64, rdx: UInt64, result: UInt64)] = [
        (Int64(EXO_NUCLEUS_CALL_NULL), 0, 0, 0), (-77, 0, 0, UInt64(bitPattern: -Int64(EXO_ENOSYS))),
        (Int64(EXO_NUCLEUS_CALL_PROTECT), old, old & ~2, old), (Int64(EXO_NUCLEUS_CALL_PROTECT), 0, old, 0),
      ]
      for call in calls {
        let words = entry(
          flags, rax: UInt64(bitPattern: call.number), rdi: Place.scratch, rsi: call.rsi, rdx: call.rdx)
        defer { words.deallocate() }
        if let fault = attempt(hostile_enter_by_system_call, UInt64(UInt(bitPattern: words))) {
          // The trap is the caller's, after the instruction.
          expect(
            fault.vector == 1 && flags & 0x100 != 0, "call \(call.number), flags \(flags): \(fault.vector)")
          expect(fault.cs == UInt64(EXO_USER_CS), "call \(call.number), flags \(flags): CS \(fault.cs)")
          continue
        }
        expect(
          words.pointee.result == call.result, "call \(call.number), flags \(flags): \(words.pointee.result)")
        expect(
          words.pointee.after & 0x24_4500 == flags & 0x24_4500,
          "call \(call.number), flags \(flags): \(words.pointee.after) after it")
        expect(words.pointee.after & 0x3000 == 0, "call \(call.number), flags \(flags): IOPL")
      }
      let now = hostile_read(slot)
      if now & 2 == 0 {
        expect(exo_nucleus_protect(Place.scratch, now, now | 2) == now, "restoring is refused")
      }
    }
    exocall(EXO_CALL_unmap, Place.scratch, 1)
    exocall(EXO_CALL_frame_free, pages.capability)
  }

  /// A trap that the load of SS put off, which may come in ring 0: whoever did it ends, or goes on.
  private static func trapsInShadow() {
    for way in 0..<3 as Range<UInt64> {
      do throws(ExocallError) {
        var child = try LibOS.Child.make(
          EnvironmentQuota(frames: 96, bindings: 32), argument: way, raisesInShadow)
        try child.start()
        let end = try child.wait()
        guard case .faulted = end else { succeeded("a trap put off, way \(way): \(end)") }
      } catch { unable("a child: \(error)") }
    }
  }
}

private func raiseWith(_ flags: UInt64, _ code: @convention(c) (UInt64) -> Void) -> Int32 {
  var words = hostile_way(flags: flags, rax: 0, rdi: 0, rsi: 0, rdx: 0, after: 0, result: 0)
  withUnsafeMutablePointer(to: &words) { code(UInt64(UInt(bitPattern: $0))) }
  return 1
}
private func raisesInShadow(_ way: UInt64) -> Int32 {
  var words = hostile_way(
    flags: 0x302, rax: UInt64(bitPattern: Int64(EXO_NUCLEUS_CALL_NULL)), rdi: 0, rsi: 0, rdx: way, after: 0,
    result: 0)
  withUnsafeMutablePointer(to: &words) { hostile_raise_in_shadow(UInt64(UInt(bitPattern: $0))) }
  return 1
}
