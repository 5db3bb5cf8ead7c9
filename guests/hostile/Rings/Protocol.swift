import ExoABI
import HostileSupport
import LibOS

/// The ring's protocol, broken. Whoever breaks it is ended for misuse: nothing it says can be trusted to be in step.
extension Attack {
  static var ringProtocol: Attack {
    Attack("ring-protocol", "Jumps, wraps, runs back and overruns, each in a child.") {
      for which in 0..<UInt64(HOSTILE_RING_CASES) {
        let end = Child.run(HOSTILE_RING, which)
        expect(end == .misused, "case \(which): \(end.text)")
      }
    }
  }

  static var ringJump: Attack {
    Attack("ring-jump", "Submits a number that does not come next: misuse ends it.") {
      let slots = UnsafeMutableRawPointer(word(exo_kit_submission))
      for slot in 0..<Int(EXO_RING_CAPACITY) {
        slots.storeBytes(of: 0x1234_5678, toByteOffset: slot * 64 + 60, as: UInt32.self)
      }
      hostile_doorbell(UInt32(EXO_DOORBELL_WAKE), 1)
      hostile_doorbell(UInt32(EXO_DOORBELL_SERVE), 1)
      while true { hostile_doorbell(UInt32(EXO_DOORBELL_WAIT), 1000) }
    }
  }

  /// Calls that are none, with arguments that are nothing, by the ten thousand: each is answered, none is carried out that
  /// was not meant, and the environment is as it was.
  static var garbage: Attack {
    Attack("garbage", "Submits 100,000 calls made of random numbers.") {
      var numbers = Numbers(state: 0xdead_10cc_dead_10cc)
      let interesting: [UInt64] = [
        0, 1, 2, 7, 8, 63, 64, 511, 512, 4095, 4096, 0x10000, 0x400000, 1 << 20, 1 << 32, 1 << 47, 1 << 48,
        1 << 63, .max,
        .max - 4095, exo_kit_start, exo_kit_tables, exo_nucleus_idt, 1 << 32 | 1,
      ]
      func number() -> UInt64 {
        let bits = numbers.next()
        switch bits & 3 {
        case 0: return numbers.next()
        case 1: return bits >> 2 & 0xff
        default: return interesting[Int(bits >> 2) % interesting.count]
        }
      }
      var served = 0
      // Not `exit`, nor reading or writing the console, nor what gives up or takes away what this program stands on: those
      // are other attacks.
      let kinds: [UInt32] = [
        EXO_CALL_null.rawValue, EXO_CALL_frame_allocate.rawValue, EXO_CALL_frame_free.rawValue,
        EXO_CALL_map.rawValue,
        EXO_CALL_clock.rawValue, EXO_CALL_exception_bind.rawValue, EXO_CALL_exception_unbind.rawValue,
        EXO_CALL_capability_derive.rawValue, EXO_CALL_capability_grant.rawValue,
        EXO_CALL_capability_inspect.rawValue,
        EXO_CALL_capability_next.rawValue, EXO_CALL_environment_create.rawValue,
        EXO_CALL_environment_map.rawValue,
        EXO_CALL_environment_start.rawValue, EXO_CALL_environment_stop.rawValue,
        EXO_CALL_environment_resume.rawValue,
        EXO_CALL_environment_inspect.rawValue, EXO_CALL_page_vector.rawValue, EXO_CALL_guarantee.rawValue,
        EXO_CALL_region_create.rawValue, EXO_CALL_region_access.rawValue, EXO_CALL_event_bind.rawValue,
        EXO_CALL_event_post.rawValue, EXO_CALL_timer_set.rawValue, EXO_CALL_slices_allocate.rawValue,
        EXO_CALL_slices_bind.rawValue, .max,
      ]
      exocalls(100_000) { _ in
        var kind = kinds[Int(numbers.next() >> 33) % kinds.count]
        if kind == .max { kind = UInt32(truncatingIfNeeded: number()) | 0x8000 }
        let first =
          kind == EXO_CALL_page_vector.rawValue || kind == EXO_CALL_frame_free.rawValue ? 0 : number()
        return RingRequest(kind, first, number(), number(), number(), number())
      } answer: { _, _ in
        served += 1
      }
      expect(served == 100_000, "\(served) answers")
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  /// While the exokernel reads an entry, this processor changes it. It is read once: whatever is carried out has been
  /// checked. Each call could unmap a page of this environment's, or one of the kit's, depending on the moment.
  static var ringRace: Attack {
    Attack("ring-race", "Changes submissions and vectors while they are being read.") {
      let pages = Pages(1)
      let list = Pages(1).map(at: Place.scratch + 0x20_0000)
      let entry = UnsafeMutablePointer<exo_page_operation>(bitPattern: UInt(Place.scratch + 0x20_0000))
        .unsafelyUnwrapped
      entry.pointee = exo_page_operation(
        address: Place.scratch, pages: 1, rights: UInt32(EXO_READ), capability: pages.capability, first: 0)
      let kitEntry = exo_kit_tables + (exo_kit_start >> 12) * 8
      let before = hostile_read(kitEntry) & ~0x60
      let good = Place.scratch
      for round in 0..<400 {
        let request =
          round & 1 == 0
          ? RingRequest(EXO_CALL_unmap.rawValue, good, 1)
          : RingRequest(EXO_CALL_page_vector.rawValue, UInt64(EXO_VECTOR_UNMAP), Place.scratch + 0x20_0000, 1)
        guard let ticket = machineRing.submit(request) else { unable("the ring is full") }
        let slot = newestSlot()
        machineRing.notify()
        for _ in 0..<30 {
          // The address in the entry (argument 0 is at 8), or in the vector.
          let place = round & 1 == 0 ? slot + 8 : Place.scratch + 0x20_0000
          hostile_write(place, exo_kit_start)
          hostile_write(place, good)
        }
        guard let answer = machineRing.wait(ticket) else { unable("an answer is lost") }
        expect(answer.result == 0 || answer.result == -Int64(EXO_EINVAL), "round \(round): \(answer.result)")
        expect(hostile_read(kitEntry) & ~0x60 == before, "the kit was unmapped")
      }
      exocall(EXO_CALL_frame_free, list.capability)
    }
  }

  /// Where the submission with the highest number lies.
  private static func newestSlot() -> UInt64 {
    var newest: (number: UInt64, slot: UInt64) = (0, exo_kit_submission)
    for index in 0..<UInt64(EXO_RING_CAPACITY) {
      let slot = exo_kit_submission + index * 64
      let number = hostile_read(slot + 56) >> 32
      if number > newest.number { newest = (number, slot) }
    }
    return newest.slot
  }
}
