import ExoABI
import HostileSupport

/// The kit is the exokernel's to bind: its read-only pages are not to be written, none of it to be executed, mapped
/// over, unmapped, protected, pinned, or used as a buffer that the exokernel writes.
extension Attack {
  static var kit: Attack {
    Attack("kit", "Writes, executes and rebinds the kit's pages.") {
      catchExceptions()
      let readOnly = [
        exo_kit_start, exo_kit_machine, exo_kit_completion, exo_kit_frames, exo_kit_events, exo_kit_arguments,
      ]
      for page in readOnly {
        for offset: UInt64 in [0, 0x800, 0xff8] { expectFault(hostile_store, at: page + offset, "store") }
        expectRefused(exocall(EXO_CALL_console_read, page, 8), EXO_EFAULT, for: "reading into \(page)")
        expectRefused(
          exocall(EXO_CALL_region_access, 0, 0, 0, page, 8), EXO_EBADF, for: "a region read into \(page)")
      }
      for page in readOnly + [exo_kit_submission, exo_kit_trap] {
        expectFault(hostile_call, at: page, "call")
      }
      let pages = Pages(2)
      let kit = stride(from: exo_kit_start, to: exo_kit_end, by: 4096)
      for page in kit where page < exo_kit_start + 0x10000 || page == exo_kit_end - 4096 {
        expectRefused(
          exocall(EXO_CALL_map, pages.capability, 0, page, 1, Allow.write), EXO_EINVAL,
          for: "mapping at \(page)")
        expectRefused(exocall(EXO_CALL_unmap, page, 1), EXO_EINVAL, for: "unmapping \(page)")
        expectRefused(exocall(EXO_CALL_protect, page, 1, Allow.write), EXO_EINVAL, for: "protecting \(page)")
        expectRefused(exocall(EXO_CALL_guarantee, page, 1, 1), EXO_EINVAL, for: "pinning \(page)")
      }
      // Ranges that begin below and reach into it, or begin within and reach out.
      for (start, count) in [
        (exo_kit_start - 4096, UInt64(2)), (exo_kit_end - 4096, 2), (exo_kit_start - 4096, 512),
      ] {
        expectRefused(
          exocall(EXO_CALL_map, pages.capability, 0, start, count, Allow.read), EXO_EINVAL,
          for: "mapping across")
        expectRefused(exocall(EXO_CALL_unmap, start, count), EXO_EINVAL, for: "unmapping across")
        expectRefused(exocall(EXO_CALL_protect, start, count, 0), EXO_EINVAL, for: "protecting across")
      }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }
}
