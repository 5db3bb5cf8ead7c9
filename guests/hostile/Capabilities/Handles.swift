import ExoABI
import HostileSupport
import LibOS

/// Handles that name nothing of this environment's, in every call that takes one.
extension Attack {
  static var forgedHandles: Attack {
    Attack("forged-handles", "Makes every call with handles that were never issued.") {
      let pages = Pages(1)
      let child = Child()
      let index = pages.capability & 0xffff_ffff
      let generation = pages.capability >> 32
      let forged: [UInt64] = [
        0, 1, .max, 0xffff_ffff, 1 << 32 | 0xffff_ffff, index, index | (generation + 1) << 32,
        index | .max << 32,
        1 << 32 | 9999, 1 << 63, (index + 1000) | generation << 32,
      ]
      for handle in forged {
        tryEverything(with: [handle], EXO_EBADF, EXO_ESTALE)
        // A good one beside it does not help.
        expectRefused(
          exocall(EXO_CALL_capability_grant, pages.capability, handle, 0, 0, Allow.read), EXO_EBADF,
          EXO_ESTALE,
          for: "granting to \(handle)")
        expectRefused(
          exocall(EXO_CALL_capability_grant, handle, child.handle, 0, 0, Allow.read), EXO_EBADF, EXO_ESTALE,
          for: "granting \(handle)")
        expectRefused(
          exocall(EXO_CALL_environment_map, child.handle, handle, Place.scratch, 1 << 32, Allow.read),
          EXO_EBADF,
          EXO_ESTALE, for: "mapping \(handle) in a child")
      }
      var numbers = Numbers(state: 0xc0ff_ee11_c0ff_ee11)
      tryEverything(with: (0..<32).map { _ in numbers.next() }, EXO_EBADF, EXO_ESTALE)
    }
  }

  static var staleHandles: Attack {
    Attack("stale-handles", "Makes every call with handles that were given up, freed or revoked.") {
      let kept = Pages(1)
      let freed = Pages(1)
      let derived = UInt64(exocall(EXO_CALL_capability_derive, kept.capability, 0, 0, Allow.read))
      let second = UInt64(exocall(EXO_CALL_capability_derive, derived, 0, 0, Allow.read))
      let dropped = UInt64(exocall(EXO_CALL_capability_derive, kept.capability, 0, 0, Allow.read))
      exocall(EXO_CALL_frame_free, freed.capability)
      exocall(EXO_CALL_capability_drop, dropped)
      expect(exocall(EXO_CALL_capability_revoke, kept.capability) == 2, "not all that was derived is gone")
      tryEverything(with: [freed.capability, derived, second, dropped], EXO_ESTALE)
      // Their places are taken by others; the old names must not be names of those.
      for _ in 0..<8 { _ = Pages(1) }
      tryEverything(with: [freed.capability, derived, second, dropped], EXO_ESTALE)
      let child = Child()
      exocall(EXO_CALL_environment_end, child.handle, 0)
      exocall(EXO_CALL_capability_drop, child.handle)
      tryEverything(with: [child.handle], EXO_ESTALE)
    }
  }

  /// A child is told this environment's handles, which mean nothing in its own table.
  static var foreignHandles: Attack {
    Attack("foreign-handles", "Makes every call with another environment's handles.") {
      let mailbox = Mailbox()
      // Indices that the child has not come to yet.
      var handles: [UInt64] = []
      for _ in 0..<24 { handles.append(Pages(1).capability) }
      var child = Child()
      child.give(mailbox.pages, at: mailbox.address, Allow.write)
      handles.append(child.handle)
      let chosen = handles.suffix(12)
      mailbox[0] = UInt64(chosen.count)
      for (index, handle) in chosen.enumerated() { mailbox[1 + index] = handle }
      child.start(HOSTILE_HANDLES, mailbox.address)
      let end = child.wait()
      expect(end == .exited(0) && mailbox.flag == 1, "the child: \(end.text)")
      expect(mailbox[32] == 0, "\(mailbox[32]) calls were carried out, the last \(mailbox[33])")
    }
  }

  /// Every call with each handle in every place where it takes one.
  private static func tryEverything(with handles: [UInt64], _ allowed: Int32...) {
    for handle in handles {
      var row: UInt32 = 0
      while let call = hostile_handle_call(row) {
        func argument(_ index: Int, _ good: UInt64) -> UInt64 {
          call.pointee.handles >> UInt32(index) & 1 == 1 ? handle : good
        }
        let good = call.pointee.arguments
        let result = exocall(
          RingRequest(
            call.pointee.call, argument(0, good.0), argument(1, good.1), argument(2, good.2),
            argument(3, good.3),
            argument(4, good.4))
        ).result
        if !allowed.contains(where: { result == -Int64($0) }) {
          succeeded("call \(call.pointee.call) with handle \(handle): \(result)")
        }
        row += 1
      }
    }
  }
}
