import ExoABI
import HostileSupport
import LibOS

/// Where the processor is made to push a frame. It pushes with the nucleus's rights, so the exokernel must refuse every
/// stack that is not the environment's own writable memory, wholly and for good.
extension Attack {
  static var exceptionStacks: Attack {
    Attack(
      "exception-stacks", "Aims exception stacks at the nucleus, the kit, nothing, and memory of others."
    ) {
      Pages(1).map(at: Place.scratch, Allow.read)
      Pages(1).map(at: Place.scratch + 0x10_0000)
      let child = Child()
      let bad: [UInt64] = [
        // The nucleus: the interrupt table itself, and so that the frame would cover a gate.
        exo_nucleus_idt, exo_nucleus_idt + 64, exo_nucleus_idt + 0x200, exo_nucleus_data + 0x140,
        exo_nucleus_data + 0x1000, exo_nucleus_text + 0x1000,
        // What ring 0 may write where it runs on the processor.
        exo_nucleus_tables + 4096, exo_nucleus_tables + (Place.scratch >> 12) * 8 & ~15 + 64,
        exo_nucleus_stacks + 0x800,
        exo_nucleus_stacks + 4096, exo_nucleus_scratch + 64, exo_nucleus_scratch + 4096,
        exo_nucleus_transfer + 64,
        // The kit.
        exo_kit_start + 64, exo_kit_start + 4096, exo_kit_machine + 4096, exo_kit_submission + 4096,
        exo_kit_completion + 4096, exo_kit_trap + 0x800, exo_kit_trap + 0x1000, exo_kit_doorbell + 4096,
        exo_kit_frames + 4096, exo_kit_arguments + 4096, exo_kit_end,
        // Nothing, numbers that wrap, no address.
        0, 8, 16, 48, 64, 4096, 0xffff, 0x10000, 0x10010, Place.scratch + 0x20_0000, 0x8000_0000_0000,
        0x8000_0000_0040, 0xffff_8000_0000_0000, 0xffff_ffff_ffff_fff0, .max, 1 << 63,
        // Read-only; half on a page that is not there; not aligned.
        Place.scratch + 4096, Place.scratch + 0x10_0000, Place.scratch + 0x10_0000 + 48,
        Place.scratch + 0x10_0000 + 4096 - 8, Place.scratch + 0x10_0000 + 4096 - 1,
        Place.scratch + 0x10_0000 + 4096 + 16, hostile_text_start() + 4096,
      ]
      let vectors: [(vector: UInt64, flags: UInt64)] = [(0, 0), (3, 0), (14, 0), (14, 1)]
      for (vector, flags) in vectors {
        let handler = hostile_catcher(UInt32(vector))
        for top in bad {
          expectRefused(
            exocall(EXO_CALL_exception_bind, vector, handler, top, flags), EXO_EFAULT, EXO_EINVAL, EXO_EPERM,
            EXO_ENOENT,
            for: "vector \(vector) on a stack at \(top)")
        }
      }
      // Another's frame: the child gets a page of this environment's, which may take it back at any time. The program
      // `restore` tries it there; here, this environment may not take the child's either, having none.
      expectRefused(
        exocall(EXO_CALL_map, child.handle, 0, Place.scratch + 0x30_0000, 1, Allow.write), EXO_EBADF,
        for: "mapping an environment")
      // Two stacks for one class of vectors.
      catchExceptions()
      expectRefused(
        exocall(EXO_CALL_exception_bind, 6, hostile_catcher(6), Place.scratch + 0x10_0000 + 4096), EXO_EBUSY,
        for: "a second stack for a class")
      // After all of it, delivery is what it was.
      expect(attempt(hostile_load, 0)?.vector == 14, "no page fault")
      expect(attempt(hostile_privileged(0)!.pointee.code)?.vector == 13, "no protection fault")
    }
  }

  /// The least stack there is, at the very start of a page: what is pushed stays within it.
  static var smallStack: Attack {
    Attack("small-stack", "Takes page faults on the smallest stack that is allowed.") {
      catchExceptions()
      expect(exocall(EXO_CALL_exception_unbind, 14) == 0, "unbinding")
      Pages(1).map(at: Place.scratch)
      word(Place.scratch).update(repeating: 0x6b6b_6b6b_6b6b_6b6b, count: 512)
      expectRefused(
        exocall(EXO_CALL_exception_bind, 14, hostile_small_handler(), Place.scratch + 48, 1), EXO_EFAULT,
        for: "48 bytes")
      let top = Place.scratch + 64
      expect(
        exocall(EXO_CALL_exception_bind, 14, hostile_small_handler(), top, 1) == 0, "64 bytes are refused")
      for address in [UInt64(0x128), exo_nucleus_idt, exo_kit_end] {
        let seen = hostile_small_fault(address)
        expect(seen == address, "a fault at \(address) was told as \(seen)")
        for index in 8..<512 where word(Place.scratch)[index] != 0x6b6b_6b6b_6b6b_6b6b {
          succeeded("word \(index) above the stack was written")
        }
      }
      expect(exocall(EXO_CALL_exception_unbind, 14) == 0, "unbinding")
    }
  }

  /// A bound stack cannot be taken from under the processor, in any way there is.
  static var pinnedStack: Attack {
    Attack("pinned-stack", "Unmaps, protects, frees and covers a stack that is bound.") {
      catchExceptions()
      expect(exocall(EXO_CALL_exception_unbind, 14) == 0, "unbinding")
      let pages = Pages(2).map(at: Place.scratch)
      let top = Place.scratch + 4096 + 32  // across both pages
      expect(
        exocall(EXO_CALL_exception_bind, 14, hostile_catcher(14), top, UInt64(EXO_EXCEPTION_WITH_ADDRESS))
          == 0, "binding")
      let derived = exocall(EXO_CALL_capability_derive, pages.capability, 0, 0, Allow.write)
      for page in [Place.scratch, Place.scratch + 4096] {
        expectRefused(exocall(EXO_CALL_unmap, page, 1), EXO_EBUSY, for: "unmapping")
        expectRefused(exocall(EXO_CALL_protect, page, 1, Allow.read), EXO_EBUSY, for: "protecting")
        expectRefused(
          exocall(EXO_CALL_map, pages.capability, 0, page, 1, Allow.read), EXO_EEXIST, for: "mapping over")
        expectRefused(exocall(EXO_CALL_guarantee, page, 1, 0), EXO_ENOENT, for: "unpinning")
      }
      expectRefused(exocall(EXO_CALL_unmap, Place.scratch - 4096, 4), EXO_EBUSY, for: "unmapping around")
      expectRefused(exocall(EXO_CALL_frame_free, pages.capability), EXO_EBUSY, for: "freeing")
      expectRefused(exocall(EXO_CALL_capability_drop, pages.capability), EXO_EBUSY, for: "dropping")
      // Capabilities derived from it may go; it is owned, not derived.
      exocall(EXO_CALL_capability_revoke, pages.capability)
      expectRefused(
        exocall(EXO_CALL_capability_drop, UInt64(derived)), EXO_ESTALE, for: "dropping what was revoked")
      for _ in 0..<4 {
        expect(attempt(hostile_load, 0x128)?.address == 0x128, "no page fault on the pinned stack")
      }
      // Moved while bound: the old stack is free again, the new one is pinned.
      expect(
        exocall(EXO_CALL_exception_bind, 14, hostile_catcher(14), hostile_stack_top(3), 1) == 0,
        "moving the stack")
      expect(attempt(hostile_load, 0x128)?.address == 0x128, "no page fault on the moved stack")
      expect(exocall(EXO_CALL_frame_free, pages.capability) == 0, "the old stack is still held")
      expectFault(hostile_load, at: Place.scratch, "load")
    }
  }
}
