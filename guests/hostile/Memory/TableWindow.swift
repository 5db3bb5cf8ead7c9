import ExoABI
import HostileSupport
import LibOS

/// The window on one's own page table is for looking: at none of its levels may an environment write, nor have the
/// exokernel or the processor write for it. The lower tables' links allow writing; the link of the window does not.
extension Attack {
  static var tableWindow: Attack {
    Attack("table-window", "Writes page tables through the window on them, by itself and by others.") {
      catchExceptions()
      let target = Pages(1).map(at: Place.scratch)
      let entry = exo_kit_tables + (Place.scratch >> 12) * 8
      let before = hostile_read(entry)
      expect(before & 1 == 1, "the window shows nothing")
      let levels = [
        entry, 0x7f3f_8000_0000 + (Place.scratch >> 21) * 8, 0x7f3f_9fc0_0000 + (Place.scratch >> 30) * 8,
        0x7f3f_9fcf_e000 + (Place.scratch >> 39) * 8,
      ]
      for address in levels {
        expectFault(hostile_store, at: address, "store")
        expectFault(hostile_call, at: address, "call")
        // Input would be a page-table entry of the giver's choice.
        expectRefused(exocall(EXO_CALL_console_read, address, 8), EXO_EFAULT, for: "input at \(address)")
        let page = address & ~0xfff
        expectRefused(
          exocall(EXO_CALL_exception_bind, 0, hostile_catcher(0), page + 4096), EXO_EFAULT, EXO_EPERM,
          EXO_EBUSY,
          for: "a stack at \(page)")
        expectRefused(
          exocall(EXO_CALL_exception_bind, 3, address, hostile_stack_top(5)), EXO_EFAULT,
          for: "a handler there")
        for call in [EXO_CALL_unmap, EXO_CALL_protect, EXO_CALL_guarantee] {
          expectRefused(exocall(call, page, 1, 1), EXO_EINVAL, for: "call \(call.rawValue) on \(page)")
        }
        expectRefused(
          exocall(EXO_CALL_map, target.capability, 0, page, 1, Allow.write), EXO_EINVAL,
          for: "mapping at \(page)")
      }
      unbindAll()
      // With no stack in use, nothing but the address says no.
      for address in levels {
        expectRefused(
          exocall(EXO_CALL_exception_bind, 0, hostile_catcher(0), (address & ~0xfff) + 4096), EXO_EFAULT,
          EXO_EPERM,
          for: "a stack at \(address)")
      }
      // A region's content is the environment's choice too.
      let region = makeOpenRegion(size: 8)
      for address in levels {
        expectRefused(
          exocall(EXO_CALL_region_access, region, 0, 0, address, 8), EXO_EFAULT, for: "a region at \(address)"
        )
      }
      expect(hostile_read(entry) & ~0x60 == before & ~0x60, "the entry has changed")
    }
  }
}

func unbindAll() {
  for vector in 0..<UInt64(EXO_VECTOR_COUNT) { exocall(EXO_CALL_exception_unbind, vector) }
}

/// A region that anybody may do anything with: `constant r0 = 1; result r0`.
func makeOpenRegion(size: UInt64) -> UInt64 {
  let program: [UInt64] = [0x0000_0001_0000_0000, 0x0d]
  let handle = program.withUnsafeBytes {
    exocall(EXO_CALL_region_create, size, UInt64(UInt(bitPattern: $0.baseAddress)), 16)
  }
  guard handle > 0 else { unable("no region: \(handle)") }
  return UInt64(handle)
}
