import ExoABI
import HostileSupport
import LibOS

/// Huge pages: one entry for 512 frames, which must never be split, shared with a table, left behind, or unmapped under
/// the processor.
extension Attack {
  static var hugePages: Attack {
    Attack("huge-pages", "Misplaces, splits, pins and replaces huge pages.") {
      catchExceptions()
      let huge = UInt64(EXO_MAP_HUGE)
      let base: UInt64 = 0x5800_0000_0000
      for alignment: UInt64 in [3, 6, 513, 1024, 1 << 32, .max] {
        expectRefused(
          exocall(EXO_CALL_frame_allocate, .max, 512, alignment), EXO_EINVAL, for: "alignment \(alignment)")
      }
      let answer = exocall(RingRequest(EXO_CALL_frame_allocate.rawValue, .max, 512, 512))
      guard answer.result > 0, answer.values.1 == 512 else { unable("no aligned frames: \(answer.result)") }
      let capability = UInt64(answer.result)
      func map(_ offset: UInt64, _ address: UInt64, _ pages: UInt64, _ rights: UInt64) -> Int64 {
        exocall(EXO_CALL_map, capability, offset, address, pages, rights)
      }
      for (offset, address, pages) in [
        (UInt64(0), base + 4096, UInt64(512)), (1, base, 511), (0, base, 511), (0, base, 1),
        (1, base + 4096, 511),
      ] {
        expectRefused(
          map(offset, address, pages, Allow.write | huge), EXO_EINVAL, for: "\(pages) at \(address)")
      }
      for address: UInt64 in [
        exo_kit_start & ~0x1f_ffff, exo_kit_tables, exo_nucleus_base, 0, 0x8000_0000_0000 - 0x20_0000,
      ] {
        expectRefused(
          map(0, address, 512, Allow.write | huge), EXO_EINVAL, for: "a huge page at \(address)")
      }
      for round in 0..<UInt64(4) {
        // Where small pages were, a table stays.
        let base = base + round << 21
        if map(0, base, 512, Allow.write | huge) != 0 { unable("mapping") }
        for page in 0..<UInt64(512) { word(base + page * 4096)[0] = 0x5ec4_e75e_c4e7_0000 | page }
        // Not in parts, not under a table, not over.
        for call in [EXO_CALL_unmap, EXO_CALL_protect] {
          for (page, pages) in [(UInt64(0), UInt64(1)), (1, 511), (0, 511), (511, 2), (256, 512)] {
            expectRefused(exocall(call, base + page * 4096, pages, Allow.read), EXO_EINVAL, for: "a part")
          }
        }
        expectRefused(map(0, base + 8192, 1, Allow.read), EXO_EEXIST, for: "a page within")
        expectRefused(map(0, base, 512, Allow.read | huge), EXO_EEXIST, for: "a huge page over it")
        // Through the window on the tables, its entry stands where a small page's would.
        expectFault(hostile_store, at: exo_kit_tables + (base >> 12) * 8, "store")
        expectFault(hostile_store, at: 0x7f3f_8000_0000 + (base >> 21) * 8, "store")
        // A stack within it could not stay when the rest of it goes.
        exocall(EXO_CALL_exception_unbind, 3)
        exocall(EXO_CALL_exception_unbind, 1)
        expectRefused(
          exocall(EXO_CALL_exception_bind, 3, hostile_catcher(3), base + 0x3000), EXO_EINVAL,
          for: "a stack in it")
        expectRefused(exocall(EXO_CALL_guarantee, base, 1, 1), EXO_EINVAL, for: "pinning a part")
        expectRefused(exocall(EXO_CALL_guarantee, base, 512, 1), EXO_EINVAL, EXO_EDQUOT, for: "pinning it")
        // Gone, and others in its place: small pages of other frames, each of them those frames and no other.
        expect(exocall(EXO_CALL_unmap, base, 512) == 0, "unmapping is refused")
        expectFault(hostile_load, at: base + 0x3000, "load")
        let small = Pages(4).map(at: base)
        for index in 0..<4 * 512 where word(base)[index] != 0 {
          succeeded("word \(index) is of another frame")
        }
        expectFault(hostile_load, at: base + 4 * 4096, "load beside it")
        expectRefused(
          map(0, base, 512, Allow.read | huge), EXO_EEXIST, for: "a huge page over small ones")
        exocall(EXO_CALL_frame_free, small.capability)
        expectFault(hostile_load, at: base, "load after free")
      }
      expect(exocall(EXO_CALL_frame_free, capability) == 0, "freeing is refused")
      // Mapped and unmapped over and over, each time stopping the machine for a moment.
      let again = exocall(EXO_CALL_frame_allocate, .max, 512, 512)
      guard again > 0 else { unable("no aligned frames: \(again)") }
      for _ in 0..<10 {
        let result = exocall(EXO_CALL_map, UInt64(again), 0, base + 0x4000_0000, 512, Allow.write | huge)
        expect(result == 0, "mapping again: \(result)")
        expect(word(base + 0x4000_0000)[0] == 0, "not clean")
        exocall(EXO_CALL_unmap, base + 0x4000_0000, 512)
      }
      expect(map(0, base, 512, Allow.read | huge) == -Int64(EXO_ESTALE), "mapping what was freed")
    }
  }
}
