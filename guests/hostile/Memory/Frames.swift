import ExoABI
import HostileSupport
import LibOS

/// Frames that are another's, or were one's own.
extension Attack {
  /// Asks for every frame of the machine by its number. What is in use, by the exokernel, page tables or others, is
  /// refused; what is granted is clean.
  static var foreignFrames: Attack {
    Attack("foreign-frames", "Asks for every frame of the machine by number.") {
      let machine = UnsafePointer<exo_machine>(bitPattern: UInt(exo_kit_machine)).unsafelyUnwrapped
      let total = Int(machine.pointee.frames_total)
      var busy = 0
      var granted: [UInt64] = []
      for window in stride(from: 0, to: total, by: 1024) {
        exocalls(min(1024, total - window)) {
          RingRequest(EXO_CALL_frame_allocate.rawValue, UInt64(window + $0), 1)
        } answer: { index, answer in
          switch answer.result {
          case -Int64(EXO_EBUSY): busy += 1
          case -Int64(EXO_EDQUOT): break
          default:
            expect(
              answer.result > 0 && answer.values.0 == UInt64(window + index),
              "frame \(window + index): \(answer.result)")
            granted.append(UInt64(answer.result))
          }
        }
        if granted.count > 1280 { giveBack(&granted, but: 256) }
      }
      expect(busy > 16, "only \(busy) frames are in use")
      giveBack(&granted, but: 256)
      for capability in granted {
        if exocall(EXO_CALL_map, capability, 0, Place.scratch, 1, Allow.write) != 0 { unable("mapping") }
        for index in 0..<512 where word(Place.scratch)[index] != 0 {
          succeeded("a granted frame is not clean")
        }
        word(Place.scratch)[0] = 1
        exocall(EXO_CALL_unmap, Place.scratch, 1)
      }
      // The nucleus's own, ranges that hold one of them, and numbers that are none.
      for (first, count) in [(UInt64(0), UInt64(1)), (1, 1), (0, 2), (0, 4096), (1, 65536)] {
        expectRefused(
          exocall(EXO_CALL_frame_allocate, first, count), EXO_EBUSY, EXO_ERANGE, EXO_EDQUOT,
          for: "frames \(first) and \(count - 1) more")
      }
      for first: UInt64 in [
        UInt64(total), UInt64(total) - 1, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, .max - 1, 1 << 52,
      ] {
        expectRefused(
          exocall(EXO_CALL_frame_allocate, first, 2), EXO_ERANGE, EXO_EINVAL, EXO_EDQUOT, EXO_EBUSY,
          for: "frame \(first)")
      }
      for count in [UInt64(0), 65537, 1 << 32, .max] {
        expectRefused(exocall(EXO_CALL_frame_allocate, .max, count), EXO_EINVAL, for: "\(count) frames")
      }
    }
  }

  private static func giveBack(_ granted: inout [UInt64], but kept: Int) {
    let extra = Array(granted[kept...])
    exocalls(extra.count) {
      RingRequest(EXO_CALL_frame_free.rawValue, extra[$0])
    } answer: { _, answer in
      expect(answer.result == 0, "giving back: \(answer.result)")
    }
    granted.removeSubrange(kept...)
  }

  /// A frame given back is gone from where it was mapped, and comes back clean.
  static var freedFrames: Attack {
    Attack("freed-frames", "Uses frames after giving them back, and looks for what was in them.") {
      catchExceptions()
      for round in 0..<8 {
        let pages = Pages(4).map(at: Place.scratch).map(at: Place.scratch + 0x10_0000)
        word(Place.scratch).update(repeating: 0x5ec4_e75e_c4e7, count: 2048)
        expect(exocall(EXO_CALL_frame_free, pages.capability) == 0, "freeing while mapped is refused")
        for page in 0..<UInt64(4) {
          expectFault(hostile_load, at: Place.scratch + page * 4096, "load after free")
          expectFault(hostile_store, at: Place.scratch + 0x10_0000 + page * 4096, "store after free")
        }
        expectRefused(
          exocall(EXO_CALL_map, pages.capability, 0, Place.scratch, 1, Allow.read), EXO_ESTALE, for: "mapping"
        )
        expectRefused(exocall(EXO_CALL_frame_free, pages.capability), EXO_ESTALE, for: "freeing twice")
        let again = exocall(EXO_CALL_frame_allocate, pages.frame, 4)
        guard again > 0 else { unable("the same frames again: \(again)") }
        if exocall(EXO_CALL_map, UInt64(again), 0, Place.scratch, 4, Allow.read) != 0 { unable("mapping") }
        for index in 0..<2048 where word(Place.scratch)[index] != 0 {
          succeeded("round \(round): word \(index) was left behind")
        }
        exocall(EXO_CALL_unmap, Place.scratch, 4)
        exocall(EXO_CALL_frame_free, UInt64(again))
      }
    }
  }

  /// What another environment leaves behind when it is ended in the middle of its work.
  static var leftovers: Attack {
    Attack("leftovers", "Takes the frames of an environment that was ended and looks for its secrets.") {
      var looks = 0
      for round in 0..<16 where looks < 4 {
        let mailbox = Mailbox()
        var child = Child()
        child.give(mailbox.pages, at: mailbox.address, Allow.write)
        child.start(HOSTILE_SECRET, mailbox.address)
        guard mailbox.wait(for: 1) else { unable("the child says nothing") }
        let (first, count) = (mailbox[0], mailbox[1])
        expectRefused(
          exocall(EXO_CALL_frame_allocate, first, count), EXO_EBUSY, for: "frames of a living environment")
        exocall(EXO_CALL_environment_end, child.handle, 9)
        expect(child.wait() == .killed(9), "it ended otherwise")
        let capability = exocall(EXO_CALL_frame_allocate, first, count)
        // A neighbour may have been faster.
        if capability == -Int64(EXO_EBUSY) {
          exocall(EXO_CALL_frame_free, mailbox.pages.capability)
          continue
        }
        guard capability > 0 else { unable("the frames: \(capability)") }
        looks += 1
        if exocall(EXO_CALL_map, UInt64(capability), 0, Place.scratch, count, Allow.read) != 0 {
          unable("mapping")
        }
        for index in 0..<Int(count) * 512 where word(Place.scratch)[index] != 0 {
          succeeded("round \(round): word \(index) holds \(word(Place.scratch)[index])")
        }
        exocall(EXO_CALL_frame_free, UInt64(capability))
        exocall(EXO_CALL_frame_free, mailbox.pages.capability)
      }
      if looks == 0 { unable("the frames were never to be had") }
    }
  }

  /// While a child on the other processor stores to a page all the time, the page is taken back and used again: not
  /// one store may arrive after the call that took it has returned.
  static var revokedFrames: Attack {
    Attack("revoked-frames", "Goes on storing to a page that is being taken back.") {
      for round in 0..<6 {
        let pages = Pages(1).map(at: Place.scratch)
        hostile_write(Place.scratch, 0)
        var child = Child()
        child.give(pages, at: Place.scratch, Allow.write)
        child.start(HOSTILE_COUNT_UP, Place.scratch)
        let end = milliseconds() + patience
        while hostile_read(Place.scratch) < 100 {
          if milliseconds() > end { unable("the child does not count") }
        }
        let taken = exocall(EXO_CALL_capability_revoke, pages.capability)
        expect(taken >= 1, "nothing was revoked: \(taken)")
        let after = hostile_read(Place.scratch)
        expect(child.wait() == .faulted(14, at: Place.scratch), "round \(round): the child goes on")
        expect(hostile_read(Place.scratch) == after, "round \(round): a store came late")
        exocall(EXO_CALL_frame_free, pages.capability)
      }
      // The same by giving the frame up: its next content must be untouched.
      for round in 0..<6 {
        let pages = Pages(1).map(at: Place.scratch)
        hostile_write(Place.scratch, 0)
        var child = Child()
        child.give(pages, at: Place.scratch, Allow.write)
        child.start(HOSTILE_COUNT_UP, Place.scratch)
        while hostile_read(Place.scratch) < 100 {}
        expect(exocall(EXO_CALL_frame_free, pages.capability) == 0, "freeing is refused")
        let again = exocall(EXO_CALL_frame_allocate, pages.frame, 1)
        guard again > 0 else { unable("the same frame again: \(again)") }
        if exocall(EXO_CALL_map, UInt64(again), 0, Place.scratch, 1, Allow.write) != 0 { unable("mapping") }
        for _ in 0..<20_000 where hostile_read(Place.scratch) != 0 {
          succeeded("round \(round): a store reached the frame's next owner")
        }
        expect(child.wait() == .faulted(14, at: Place.scratch), "round \(round): the child goes on")
        exocall(EXO_CALL_frame_free, UInt64(again))
      }
    }
  }

  /// A page granted read-only, and its capability, give no more than that; taken back, nothing at all.
  static var grantedLess: Attack {
    Attack("granted-less", "Asks for more than was granted, and again after it was taken back.") {
      let mailbox = Mailbox()
      let pages = Pages(1).map(at: Place.scratch)
      var child = Child()
      child.give(mailbox.pages, at: mailbox.address, Allow.write)
      child.give(pages, at: Place.scratch, Allow.read)
      mailbox[0] = Place.scratch
      mailbox[1] = pages.frame
      child.start(HOSTILE_RESTORE, mailbox.address)
      guard mailbox.wait(for: 1) else { unable("the child says nothing: \(child.wait().text)") }
      expect(mailbox[32] == 0, "\(mailbox[32]) attempts, the last number \(mailbox[33])")
      expect(exocall(EXO_CALL_capability_revoke, pages.capability) >= 1, "nothing was revoked")
      mailbox.flag = 2
      expect(child.wait() == .faulted(14, at: Place.scratch), "the page is still there")
      expect(mailbox[32] == 0, "\(mailbox[32]) attempts after, the last number \(mailbox[33])")
    }
  }
}
