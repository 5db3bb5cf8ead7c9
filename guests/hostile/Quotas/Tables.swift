import ExoABI
import HostileSupport
import LibOS

/// Memory of the exokernel's that a guest makes it use.
extension Attack {
  /// One page, mapped where each mapping needs tables of its own.
  static var sparseMaps: Attack {
    Attack("sparse-maps", "Maps one page all over its address space until its quota is used up by tables.") {
      let pages = Pages(1)
      var at: UInt64 = 1 << 40
      var last: Int64 = 0
      var count = 0
      while at < 0x7e00_0000_0000 {
        last = exocall(EXO_CALL_map, pages.capability, 0, at, 1, Allow.read)
        if last < 0 { break }
        at += 1 << 30
        count += 1
      }
      expectRefused(last, EXO_EDQUOT, EXO_ENOMEM, for: "mapping \(count)")
      expect(count > 8, "only \(count) mappings")
      // What is mapped works, what was refused left nothing.
      expect(exocall(EXO_CALL_unmap, 1 << 40, 1) == 0, "unmapping is refused")
      expectRefused(exocall(EXO_CALL_protect, at, 1, 0), EXO_ENOENT, for: "what was refused is there")
      expect(exocall(EXO_CALL_frame_free, pages.capability) == 0, "freeing is refused")
    }
  }

  /// One frame mapped tens of thousands of times. Undoing 64 times as many mappings takes about 64 times as long, not the
  /// square of that, which would be seconds with the exokernel's lock held.
  static var manyMappings: Attack {
    Attack("many-mappings", "Maps one frame 32,768 times, then unmaps, frees and ends.") {
      let pages = Pages(1)
      let list = Pages(1).map(at: Place.scratch + 0x20_0000)
      let entries = UnsafeMutablePointer<exo_page_operation>(bitPattern: UInt(Place.scratch + 0x20_0000))
        .unsafelyUnwrapped
      func map(at base: UInt64, _ count: UInt64) {
        var made: UInt64 = 0
        while made < count {
          for index in 0..<UInt64(EXO_VECTOR_LIMIT) {
            entries[Int(index)] = exo_page_operation(
              address: base + (made + index) * 4096, pages: 1, rights: UInt32(EXO_READ),
              capability: pages.capability,
              first: 0)
          }
          let result = exocall(
            EXO_CALL_page_vector, UInt64(EXO_VECTOR_MAP), Place.scratch + 0x20_0000, UInt64(EXO_VECTOR_LIMIT))
          if result != 0 { unable("mapping \(made): \(result)") }
          made += UInt64(EXO_VECTOR_LIMIT)
        }
      }
      /// The best of two, in nanoseconds.
      func undo(_ count: UInt64) -> UInt64 {
        var best = UInt64.max
        for _ in 0..<2 {
          map(at: 0x5500_0000_0000, count)
          let before = Clock.now
          expect(exocall(EXO_CALL_unmap, 0x5500_0000_0000, count) == 0, "unmapping is refused")
          best = min(best, Clock.now - before)
        }
        return best
      }
      let (few, many) = (undo(512), undo(32 * 1024))
      expect(many < few * 1000, "unmapping took \(many) ns, a 64th of it \(few) ns")
      map(at: 0x5500_0000_0000, 32 * 1024)
      // Freed or not, the end takes the mappings down.
      exocall(EXO_CALL_frame_free, list.capability)
    }
  }

  /// Children spend their quota on page tables and end; their tables must not stay behind for good.
  static var hoard: Attack {
    Attack("hoard", "Has one child after another leave its quota behind in page tables.") {
      let machine = UnsafePointer<exo_machine>(bitPattern: UInt(exo_kit_machine)).unsafelyUnwrapped
      var least = machine.pointee.frames_free
      let first = least
      for round in 0..<6 {
        let mailbox = Mailbox()
        mailbox[0] = 0x1000_0000_0000 + UInt64(round) << 42
        mailbox[1] = 1 << 30
        var child = Child(frames: 1000)
        child.give(mailbox.pages, at: mailbox.address, Allow.write)
        child.start(HOSTILE_SPARSE, mailbox.address)
        expect(child.wait() == .exited(0), "the child ended otherwise")
        expect(
          mailbox[3] == UInt64(EXO_EDQUOT), "round \(round): refused with \(mailbox[3]) after \(mailbox[2])")
        exocall(EXO_CALL_frame_free, mailbox.pages.capability)
        least = min(least, machine.pointee.frames_free)
      }
      // Room for one child's worth, not for six.
      expect(first - least < 2500, "\(first - least) frames were left in page tables")
    }
  }
}
