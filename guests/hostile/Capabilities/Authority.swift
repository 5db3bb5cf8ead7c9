import ExoABI
import HostileSupport
import LibOS

/// Handles of one's own, used for what they do not give.
extension Attack {
  static var wrongKinds: Attack {
    Attack("wrong-kinds", "Uses environments as frames, frames as environments and regions as both.") {
      let pages = Pages(1)
      let child = Child()
      let region = makeOpenRegion(size: 64)
      for handle in [child.handle, region] {
        expectRefused(
          exocall(EXO_CALL_map, handle, 0, Place.scratch, 1, Allow.read), EXO_EBADF, for: "mapping")
        expectRefused(exocall(EXO_CALL_frame_free, handle), EXO_EBADF, for: "freeing")
        expectRefused(
          exocall(EXO_CALL_environment_map, child.handle, handle, Place.scratch, 1 << 32, Allow.read),
          EXO_EBADF, EXO_EPERM,
          EXO_EINVAL, for: "mapping in a child")
        expectRefused(
          exocall(EXO_CALL_capability_derive, handle, 1, 0, 0), EXO_ERANGE, for: "deriving a part")
        expectRefused(
          exocall(EXO_CALL_capability_derive, handle, 0, 2, 0), EXO_ERANGE, for: "deriving more")
      }
      for handle in [pages.capability, region] {
        for call in [
          EXO_CALL_environment_start, EXO_CALL_environment_stop, EXO_CALL_environment_resume,
          EXO_CALL_environment_end,
          EXO_CALL_environment_inspect, EXO_CALL_environment_wait,
        ] {
          expectRefused(exocall(call, handle, 0x400000, 0x10000), EXO_EBADF, for: "call \(call.rawValue)")
        }
        expectRefused(
          exocall(EXO_CALL_environment_map, handle, pages.capability, Place.scratch, 1 << 32, Allow.read),
          EXO_EBADF,
          for: "mapping in a frame")
        expectRefused(
          exocall(EXO_CALL_capability_grant, pages.capability, handle, 0, 0, Allow.read), EXO_EBADF,
          for: "granting to it")
      }
      for handle in [pages.capability, child.handle] {
        expectRefused(
          exocall(EXO_CALL_region_access, handle, 0, 0, exo_kit_start, 8), EXO_EBADF, for: "reading a region")
        expectRefused(
          exocall(EXO_CALL_region_access, handle, 1, 0, exo_kit_start, 8), EXO_EBADF, for: "writing a region")
      }
    }
  }

  static var moreRights: Attack {
    Attack("more-rights", "Derives and grants more than it holds.") {
      let pages = Pages(4)
      let child = Child()
      let all = Allow.write | Allow.code | UInt64(EXO_RIGHT_GRANT)
      // Rights that mean nothing for frames, and that the environment's capability lacks.
      for rights in [
        UInt64(EXO_RIGHT_CONTROL), UInt64(EXO_RIGHT_DELIVER), 0x1ff, 1 << 9, 1 << 31, 1 << 32, .max,
      ] {
        expectRefused(
          exocall(EXO_CALL_capability_derive, pages.capability, 0, 0, rights), EXO_EPERM, EXO_EINVAL,
          for: "deriving rights \(rights)")
        expectRefused(
          exocall(EXO_CALL_capability_grant, pages.capability, child.handle, 0, 0, rights), EXO_EPERM,
          EXO_EINVAL,
          for: "granting rights \(rights)")
      }
      for (first, count) in [
        (UInt64(0), UInt64(5)), (4, 1), (3, 2), (5, 0), (4, 0), (1 << 32, 1), (.max, 1), (0, .max),
      ] {
        expectRefused(
          exocall(EXO_CALL_capability_derive, pages.capability, first, count, all), EXO_ERANGE,
          for: "deriving pages \(first), \(count)")
      }
      // A chain of ever less, each link holding to its own.
      let readable = UInt64(exocall(EXO_CALL_capability_derive, pages.capability, 1, 2, Allow.read))
      expectRefused(
        exocall(EXO_CALL_capability_derive, readable, 0, 0, Allow.write), EXO_EPERM,
        for: "writing from reading")
      expectRefused(
        exocall(EXO_CALL_capability_derive, readable, 0, 3, Allow.read), EXO_ERANGE,
        for: "three pages from two")
      expectRefused(
        exocall(EXO_CALL_map, readable, 0, Place.scratch, 2, Allow.write), EXO_EPERM, for: "mapping writable")
      expectRefused(
        exocall(EXO_CALL_map, readable, 0, Place.scratch, 3, Allow.read), EXO_ERANGE, for: "mapping three")
      expectRefused(
        exocall(EXO_CALL_capability_grant, readable, child.handle, 0, 0, Allow.read), EXO_EPERM,
        for: "granting")
      expectRefused(
        exocall(EXO_CALL_environment_map, child.handle, readable, Place.scratch, 1 << 32, Allow.read),
        EXO_EPERM,
        for: "mapping in a child without the right to grant")
      let nothing = UInt64(
        exocall(EXO_CALL_capability_derive, pages.capability, 0, 0, UInt64(EXO_RIGHT_GRANT)))
      expectRefused(
        exocall(EXO_CALL_map, nothing, 0, Place.scratch, 1, 0), EXO_EPERM, for: "mapping without a right")
      // Mapped by the wider, kept by the narrower: it goes with the wider one.
      let wide = UInt64(exocall(EXO_CALL_capability_derive, pages.capability, 0, 0, Allow.write))
      expect(exocall(EXO_CALL_map, wide, 1, Place.scratch, 1, Allow.read) == 0, "mapping is refused")
      expect(exocall(EXO_CALL_protect, Place.scratch, 1, Allow.write) == 0, "restoring is refused")
      // An environment: less than all, then what is missing.
      let watched = UInt64(
        exocall(EXO_CALL_capability_derive, child.handle, 0, 0, UInt64(EXO_RIGHT_INSPECT)))
      for call in [
        EXO_CALL_environment_start, EXO_CALL_environment_stop, EXO_CALL_environment_resume,
        EXO_CALL_environment_end,
      ] {
        expectRefused(exocall(call, watched, 0x400000, 0x10000), EXO_EPERM, for: "call \(call.rawValue)")
      }
      expectRefused(
        exocall(EXO_CALL_environment_map, watched, pages.capability, Place.scratch, 1 << 32, Allow.read),
        EXO_EPERM,
        for: "mapping in it")
      expectRefused(
        exocall(EXO_CALL_capability_grant, pages.capability, watched, 0, 0, Allow.read), EXO_EPERM,
        for: "granting to it")
      expectRefused(
        exocall(EXO_CALL_capability_derive, watched, 0, 0, UInt64(EXO_RIGHT_CONTROL)), EXO_EPERM,
        for: "deriving control")
    }
  }

  /// Environments used out of turn.
  static var environments: Attack {
    Attack("environments", "Creates, starts, stops and ends children out of turn and beyond its means.") {
      for (frames, capabilities, bindings, environments): (UInt64, UInt64, UInt64, UInt64) in [
        (.max, 1, 1, 0), (1 << 63, 1, 1, 0), (64, .max, 1, 0), (64, 1, .max, 0), (64, 1, 1, .max),
        (1 << 40, 1, 1, 0),
        (64, 1 << 17, 1, 0), (64, 1, 257, 0), (64, 1, 1, 1024), (0, 0, 0, 0), (1, 1, 0, 0),
      ] {
        let result = exocall(EXO_CALL_environment_create, frames, capabilities, bindings, environments)
        expectRefused(
          result, EXO_EDQUOT, for: "quotas \(frames), \(capabilities), \(bindings), \(environments)")
      }
      var child = Child()
      for (entry, stack): (UInt64, UInt64) in [
        (0x8000_0000_0000, 0), (exo_nucleus_text, 0), (.max, 0), (0x400000, 0x8000_0000_0000),
        (0x400000, .max),
      ] {
        expectRefused(
          exocall(EXO_CALL_environment_start, child.handle, entry, stack), EXO_EFAULT,
          for: "starting at \(entry)")
      }
      expectRefused(
        exocall(EXO_CALL_environment_stop, child.handle), EXO_EBUSY, for: "stopping what never began")
      expectRefused(
        exocall(EXO_CALL_environment_resume, child.handle), EXO_EBUSY, for: "resuming what never began")
      child.start(HOSTILE_SPIN)
      expectRefused(
        exocall(EXO_CALL_environment_start, child.handle, 0x400000, 0x10000), EXO_EBUSY, for: "starting twice"
      )
      expectRefused(exocall(EXO_CALL_environment_resume, child.handle), EXO_EBUSY, for: "resuming what runs")
      // Stopped and resumed over and over, in and out of step.
      for round in 0..<20 {
        exocall(EXO_CALL_environment_stop, child.handle)
        if round % 3 == 0 { exocall(EXO_CALL_environment_stop, child.handle) }
        exocall(EXO_CALL_environment_resume, child.handle)
        if round % 4 == 0 { exocall(EXO_CALL_environment_resume, child.handle) }
      }
      exocall(EXO_CALL_environment_stop, child.handle)
      for _ in 0..<3 { exocall(EXO_CALL_environment_end, child.handle, 5) }
      expect(child.wait() == .killed(5), "the child ended otherwise")
      // One whose first page is missing, and one that is ended while it waits and before it began.
      var nowhere = Child()
      nowhere.start(HOSTILE_TOUCH, exo_nucleus_idt)
      expect(nowhere.wait() == .faulted(14, at: exo_nucleus_idt), "the child read the nucleus")
      var sleeping = Child()
      sleeping.start(HOSTILE_SLEEP)
      exocall(EXO_CALL_environment_end, sleeping.handle, 6)
      expect(sleeping.wait() == .killed(6), "the child ended otherwise")
      let unborn = Child()
      let ticket = machineRing.submit(RingRequest(EXO_CALL_environment_wait.rawValue, unborn.handle))
      exocall(EXO_CALL_environment_end, unborn.handle, 7)
      guard let ticket, let answer = machineRing.wait(ticket) else { unable("an answer is lost") }
      expect(answer.result == Int64(EXO_ENDED_KILLED) && answer.values.0 == 7, "it ended otherwise")
      // Its first capability given up, it ends: whoever waits for it learns so.
      var dropped = Child()
      dropped.start(HOSTILE_SPIN)
      exocall(EXO_CALL_capability_drop, dropped.handle)
      expect(dropped.wait().how == Int64(EXO_ENDED_KILLED), "a child without an owner lives")
    }
  }

  /// Software-defined regions: rules that are none, ranges outside, buffers that are not there.
  static var regions: Attack {
    Attack("regions", "Downloads rules that are none and reaches outside a region.") {
      let rule = Pages(1).map(at: Place.scratch)
      func create(_ words: [UInt64], size: UInt64 = 64) -> Int64 {
        for (index, value) in words.enumerated() { word(Place.scratch)[index] = value }
        return exocall(EXO_CALL_region_create, size, Place.scratch, UInt64(words.count * 8))
      }
      let result: UInt64 = 0x0d
      let bad: [[UInt64]] = [
        [], [0xff], [0], [0x0c, 0x0d], [0x0000_0001_0000_000c], [0xffff_ffff_0000_000c, result],
        [0x7fff_ffff_0000_000c, result], [0x0000_0000_0008_0003, result], [0x0000_0000_0000_ff00, result],
        [0x0000_0000_00ff_0001, result], [result, 0x0003], [0x0000_0000_ff00_0003, result],
      ]
      for program in bad {
        expectRefused(create(program), EXO_EINVAL, for: "a rule of \(program.count) instructions")
      }
      expectRefused(create([UInt64](repeating: result, count: 65)), EXO_EINVAL, for: "65 instructions")
      for size in [UInt64(0), 4097, 1 << 32, .max] {
        expectRefused(create([0x0000_0001_0000_0000, result], size: size), EXO_EINVAL, for: "\(size) bytes")
      }
      for address in [0, Place.scratch + 0xff8, exo_nucleus_idt, exo_kit_doorbell, .max] {
        expectRefused(
          exocall(EXO_CALL_region_create, 64, address, 16), EXO_EFAULT, for: "a rule at \(address)")
      }
      let region = makeOpenRegion(size: 64)
      for (offset, length) in [
        (UInt64(64), UInt64(1)), (0, 65), (60, 8), (4096, 1), (4097, 0), (1 << 32, 1), (.max, 1),
      ] {
        for operation: UInt64 in 0..<2 {
          expectRefused(
            exocall(EXO_CALL_region_access, region, operation, offset, Place.scratch, length), EXO_ERANGE,
            for: "\(length) bytes at \(offset)")
        }
      }
      for address in [
        0, exo_nucleus_idt, exo_kit_start, exo_kit_tables, exo_kit_doorbell, .max, hostile_text_start(),
      ] {
        expectRefused(
          exocall(EXO_CALL_region_access, region, 0, 0, address, 8), EXO_EFAULT,
          for: "reading into \(address)")
      }
      expectRefused(
        exocall(EXO_CALL_region_access, region, 2, 0, Place.scratch, 8), EXO_EINVAL, for: "operation 2")
      // A rule that says no, and one that looks outside its window, say it to their maker too.
      for program in [[UInt64(0x0000_0000_0000_0000), result], [0x7fff_ffff_0000_0002, result]] {
        let closed = create(program)
        guard closed > 0 else { unable("no region: \(closed)") }
        for operation: UInt64 in 0..<2 {
          expectRefused(
            exocall(EXO_CALL_region_access, UInt64(closed), operation, 0, Place.scratch, 8), EXO_EPERM,
            for: "what the rule forbids")
        }
      }
      exocall(EXO_CALL_frame_free, rule.capability)
    }
  }
}
