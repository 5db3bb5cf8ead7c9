import ExoABI
import HostileSupport
import LibOS

/// Attacks on what there is only so much of.
extension Attack {
  static var quotas: [Attack] {
    [
      allFrames, allCapabilities, allBindings, allEnvironments, sparseMaps, manyMappings, hoard, forest,
      orphans, hog,
    ]
  }

  static var allFrames: Attack {
    Attack("all-frames", "Takes frames until it is refused, in small and large pieces.") {
      let held = UnsafePointer<exo_status>(bitPattern: UInt(exo_kit_start) + UInt(EXO_STATUS_OFFSET))
        .unsafelyUnwrapped
      let limit = Startup.page.pointee.frame_limit
      for piece: UInt64 in [1, 256, 65536] {
        var capabilities: [UInt64] = []
        // The answers' own storage grows on frames too.
        capabilities.reserveCapacity(Int(limit) + 1)
        exocalls(56) { _ in
          RingRequest(EXO_CALL_null.rawValue)
        } answer: { _, _ in
        }
        let before = held.pointee.frames_held
        var last: Int64 = 0
        while last >= 0 {
          exocalls(56) { _ in
            RingRequest(EXO_CALL_frame_allocate.rawValue, .max, piece)
          } answer: { _, answer in
            last = answer.result
            if last >= 0 { capabilities.append(UInt64(last)) }
          }
          expect(held.pointee.frames_held <= limit, "\(held.pointee.frames_held) frames of \(limit)")
        }
        expectRefused(last, EXO_EDQUOT, EXO_ENOMEM, for: "one more")
        expect(!capabilities.isEmpty, "not one frame")
        exocalls(capabilities.count) {
          RingRequest(EXO_CALL_frame_free.rawValue, capabilities[$0])
        } answer: {
          _, answer in
          expect(answer.result == 0, "giving back: \(answer.result)")
        }
        expect(
          held.pointee.frames_held == before, "\(held.pointee.frames_held) frames held, \(before) before")
      }
    }
  }

  static var allCapabilities: Attack {
    Attack("all-capabilities", "Derives capabilities until it is refused.") {
      let pages = Pages(1)
      var count = 0
      var last: Int64 = 0
      while last >= 0, count < 1 << 17 {
        exocalls(4096) { _ in
          RingRequest(EXO_CALL_capability_derive.rawValue, pages.capability, 0, 0, Allow.read)
        } answer: { _, answer in
          last = answer.result
          if last >= 0 { count += 1 }
        }
      }
      expectRefused(last, EXO_EDQUOT, for: "one more than \(count)")
      expect(exocall(EXO_CALL_capability_revoke, pages.capability) == Int64(count), "not all are taken back")
    }
  }

  static var allBindings: Attack {
    Attack("all-bindings", "Makes regions and guarantees until it is refused.") {
      var regions: [UInt64] = []
      let program: [UInt64] = [0x0000_0001_0000_0000, 0x0d]
      while regions.count < 4096 {
        let handle = program.withUnsafeBytes {
          exocall(EXO_CALL_region_create, 4096, UInt64(UInt(bitPattern: $0.baseAddress)), 16)
        }
        if handle < 0 {
          expectRefused(handle, EXO_EDQUOT, for: "region \(regions.count)")
          break
        }
        regions.append(UInt64(handle))
      }
      expect(regions.count < 4096, "regions without end")
      Pages(1).map(at: Place.scratch)
      expectRefused(exocall(EXO_CALL_guarantee, Place.scratch, 1, 1), EXO_EDQUOT, for: "a guarantee")
      expectRefused(
        exocall(EXO_CALL_exception_bind, 3, hostile_catcher(3), hostile_stack_top(5)), EXO_EDQUOT,
        for: "a vector")
      exocall(EXO_CALL_capability_drop, regions[0])
      catchOne()
      for region in regions.dropFirst() { exocall(EXO_CALL_capability_drop, region) }
      catchExceptions()
    }
  }

  private static func catchOne() {
    expect(
      exocall(EXO_CALL_exception_bind, 3, hostile_catcher(3), hostile_stack_top(5)) == 0,
      "what was given up is lost")
    expect(attempt(hostile_breakpoint)?.vector == 3, "no breakpoint")
    exocall(EXO_CALL_exception_unbind, 3)
  }
}
