import ExoABI
import HostileSupport
import LibOS

/// Addresses and sizes that are none, in every call that takes them.
extension Attack {
  static var addresses: Attack {
    Attack("addresses", "Maps and unmaps at addresses that are not to be had.") {
      let pages = Pages(4)
      let bad: [(address: UInt64, pages: UInt64)] = [
        (0, 1), (0xf000, 1), (0xf000, 2), (Place.scratch + 1, 1), (Place.scratch + 0x800, 1),
        (0x8000_0000_0000, 1), (0x7fff_ffff_f000, 1), (0x7fff_ffff_e000, 2), (0xffff_7fff_ffff_f000, 1),
        (exo_nucleus_base, 1),
        (exo_nucleus_idt, 1), (0xffff_ffff_ffff_f000, 1), (0xffff_ffff_ffff_f000, 2), (1 << 63, 1),
        (0x8000_0000_0000 - 0x1000_0000, 65536), (Place.scratch, 0), (Place.scratch, 65537),
        (Place.scratch, 1 << 32), (Place.scratch, 1 << 52), (Place.scratch, .max), (.max, .max),
        (exo_kit_tables - 4096, 2), (exo_kit_tables, 1), (exo_kit_tables_end - 4096, 1),
        (exo_kit_tables_end - 4096, 2), (exo_kit_start - 4096, 2), (exo_kit_start, 1),
      ]
      for (address, count) in bad {
        let what = "\(count) pages at \(address)"
        expectRefused(
          exocall(EXO_CALL_map, pages.capability, 0, address, count, Allow.write), EXO_EINVAL,
          for: "map \(what)")
        expectRefused(exocall(EXO_CALL_unmap, address, count), EXO_EINVAL, for: "unmap \(what)")
        expectRefused(
          exocall(EXO_CALL_protect, address, count, Allow.write), EXO_EINVAL, for: "protect \(what)")
        expectRefused(exocall(EXO_CALL_guarantee, address, count, 1), EXO_EINVAL, for: "guarantee \(what)")
        if count < 1 << 32 {
          expectRefused(
            exocall(EXO_CALL_environment_map, 0, pages.capability, address, count << 32, Allow.write),
            EXO_EINVAL,
            for: "environment_map \(what)")
        }
      }
      // Right places, wrong parts and rights.
      for (offset, count) in [(UInt64(4), UInt64(1)), (3, 2), (0, 5), (1 << 32, 1), (.max, 1), (.max - 3, 4)]
      {
        expectRefused(
          exocall(EXO_CALL_map, pages.capability, offset, Place.scratch, count, Allow.read), EXO_ERANGE,
          EXO_EINVAL,
          for: "pages \(offset) and on of four")
      }
      for rights: UInt64 in [8, 16, 0xff, 1 << 32, .max] {
        expectRefused(
          exocall(EXO_CALL_map, pages.capability, 0, Place.scratch, 1, rights), EXO_EINVAL,
          for: "rights \(rights)")
        expectRefused(
          exocall(EXO_CALL_protect, Place.scratch, 1, rights), EXO_EINVAL, for: "rights \(rights)")
      }
      // The lowest and the highest page there are; over what is mapped; beyond what was granted.
      for address: UInt64 in [0x10000, 0x7fff_ffff_b000, 0x7fff_ffff_e000] {
        let first = min(address & ~0x3fff, 0x7fff_ffff_b000)
        pages.map(at: first)
        expectRefused(
          exocall(EXO_CALL_map, pages.capability, 0, address, 1, Allow.write), EXO_EEXIST, for: "mapping over"
        )
        exocall(EXO_CALL_unmap, first, 4)
      }
      expectRefused(
        exocall(EXO_CALL_map, pages.capability, 0, hostile_text_start(), 1, Allow.write), EXO_EEXIST,
        for: "mapping over the image")
      expectRefused(
        exocall(EXO_CALL_protect, hostile_text_end() & ~0xfff, 1, 7), EXO_EPERM, for: "making text writable")
      expectRefused(exocall(EXO_CALL_protect, Place.scratch, 1, 1), EXO_ENOENT, for: "protecting nothing")
    }
  }

  /// The vector form checks each entry as the call would, reads it once, and stops at the first that is refused.
  static var pageVectors: Attack {
    Attack("page-vectors", "Hides bad operations among good ones, and vectors where none can be read.") {
      let pages = Pages(4)
      let list = Pages(1).map(at: Place.scratch + 0x20_0000)
      let entries = UnsafeMutablePointer<exo_page_operation>(bitPattern: UInt(Place.scratch + 0x20_0000))
        .unsafelyUnwrapped
      for bad in [
        exo_kit_start, exo_kit_tables, exo_nucleus_idt, 0, Place.scratch + 1, 0xffff_ffff_ffff_f000,
      ] {
        for index in 0..<3 {
          entries[index] = exo_page_operation(
            address: Place.scratch + UInt64(index) * 4096, pages: 1, rights: UInt32(EXO_READ),
            capability: pages.capability, first: 0)
        }
        entries[1].address = bad
        for operation in [UInt64(EXO_VECTOR_MAP), UInt64(EXO_VECTOR_PROTECT), UInt64(EXO_VECTOR_UNMAP)] {
          let answer = exocall(
            RingRequest(EXO_CALL_page_vector.rawValue, operation, Place.scratch + 0x20_0000, 3))
          expect(
            answer.result == -Int64(EXO_EINVAL) && answer.values.0 == 1, "operation \(operation) at \(bad)")
        }
      }
      for count in [UInt64(129), 1 << 32, .max] {
        expectRefused(
          exocall(EXO_CALL_page_vector, 0, Place.scratch + 0x20_0000, count), EXO_EINVAL,
          for: "\(count) entries")
      }
      for operation in [UInt64(3), .max] {
        expectRefused(
          exocall(EXO_CALL_page_vector, operation, Place.scratch + 0x20_0000, 1), EXO_EINVAL,
          for: "operation \(operation)")
      }
      for address in [0, Place.scratch, exo_nucleus_idt, exo_kit_doorbell, .max, Place.scratch + 0x20_0fff] {
        expectRefused(
          exocall(EXO_CALL_page_vector, 0, address, 1), EXO_EFAULT, for: "a vector at \(address)")
      }
      exocall(EXO_CALL_frame_free, list.capability)
    }
  }
}
