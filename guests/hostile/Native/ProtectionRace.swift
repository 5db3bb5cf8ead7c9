import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// The nucleus changes an entry while the exokernel changes it too, on another processor. It exchanges what the caller says it read,
/// all of it, or nothing: so nothing that was taken away comes back, nothing that was granted less becomes more, and what the
/// exokernel has pinned stays as it was found.
extension Attack {
  static var protectionRace: Attack {
    Attack(
      "protection-race",
      "Has the nucleus change entries while the exokernel unmaps, maps and pins their pages."
    ) {
      guard NucleusCalls.areOffered else { return }
      staleCopies()
      whileUnmapped()
      whilePinned()
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  private static let writable: UInt64 = 2
  private static let leadsTo: UInt64 = 0x000f_ffff_ffff_f000
  private static let slot = exo_kit_tables + (Place.scratch >> 12) * 8
  private static var duration: UInt64 { isEmulated ? 2000 : 300 }

  private static func readOnly(_ pages: Pages) -> UInt64 {
    let less = exocall(EXO_CALL_capability_derive, pages.capability, 0, 0, Allow.read)
    if less <= 0 { unable("deriving: \(less)") }
    return UInt64(less)
  }
  private static func mapped(_ capability: UInt64, _ rights: UInt64) {
    let result = exocall(EXO_CALL_map, capability, 0, Place.scratch, 1, rights)
    if result != 0 { unable("mapping: \(result)") }
  }
  private static func unmapped() { exocall(EXO_CALL_unmap, Place.scratch, 1) }

  /// The entry as it was before something else was mapped there, pinned, or marked by the processor.
  private static func staleCopies() {
    let (mine, lent) = (Pages(1), Pages(1))
    let less = readOnly(lent)
    mapped(mine.capability, Allow.write)
    let old = hostile_read(slot)
    unmapped()
    mapped(less, Allow.read)
    let other = hostile_read(slot)
    // The truth in all but the address, the grant, or a mark.
    let lied: UInt64 = other | 0x600
    let exchanged: UInt64 = other & ~leadsTo | old & leadsTo
    let both: UInt64 = old & ~leadsTo | other & leadsTo
    let marked: UInt64 = other ^ 0x20
    let granted: UInt64 = other ^ 1 << 11
    let tries: [(seen: UInt64, new: UInt64)] = [
      (old, old | writable), (old, old & ~writable), (exchanged, old), (lied, lied | writable),
      (both, lied | writable), (marked, marked | writable), (granted, granted & ~(1 << 63)),
    ]
    for (seen, new) in tries {
      let result = exo_nucleus_protect(Place.scratch, seen, new)
      expect(result != seen, "the entry \(seen) is taken for \(other)")
      expect(
        hostile_read(slot) & ~0x60 == other & ~0x60, "the entry \(other) has become \(hostile_read(slot))")
    }
    unmapped()
    mapped(mine.capability, Allow.write)
    let free = hostile_read(slot)
    expect(exocall(EXO_CALL_guarantee, Place.scratch, 1, 1) == 0, "pinning is refused")
    expect(exo_nucleus_protect(Place.scratch, free, free & ~writable) != free, "a pinned page is lowered")
    expect(hostile_read(slot) & writable != 0, "a pinned page is not writable any more")
    expect(exocall(EXO_CALL_guarantee, Place.scratch, 1, 0) == 0, "letting go is refused")
    unmapped()
    exocall(EXO_CALL_frame_free, mine.capability)
    exocall(EXO_CALL_frame_free, lent.capability)
  }

  /// Requests in flight, and what is done until they are answered.
  private static func race(_ requests: [RingRequest], _ body: () -> Void) -> [Int64] {
    var tickets: [RingTicket] = []
    for request in requests {
      guard let ticket = machineRing.submit(request) else { unable("the ring is full") }
      tickets.append(ticket)
    }
    machineRing.notify()
    var results: [Int64] = []
    var turns = 0
    for ticket in tickets {
      while true {
        if let answer = machineRing.poll(ticket) {
          results.append(answer.result)
          break
        }
        body()
        turns += 1
        // Where nobody serves meanwhile.
        if turns % 20_000 == 0 { machineRing.notify() }
      }
    }
    return results
  }

  /// A page of one's own that may be written and one that may only be read take turns at one address.
  private static func whileUnmapped() {
    let (mine, lent) = (Pages(1), Pages(1))
    let less = readOnly(lent)
    mapped(mine.capability, Allow.write)
    let own = hostile_read(slot) & leadsTo
    func look() {
      let entry = hostile_read(slot)
      if entry & leadsTo == own {
        _ = exo_nucleus_protect(Place.scratch, entry, entry ^ writable | 1)
      } else if entry != 0 {
        expect(entry & writable == 0, "what was granted to be read is writable: \(entry)")
        expect(exo_nucleus_protect(Place.scratch, entry, entry | writable) == 0, "more than granted is given")
      }
    }
    let unmap = RingRequest(EXO_CALL_unmap.rawValue, Place.scratch, 1)
    let mapLess = RingRequest(EXO_CALL_map.rawValue, less, 0, Place.scratch, 1, Allow.read)
    let mapOwn = RingRequest(EXO_CALL_map.rawValue, mine.capability, 0, Place.scratch, 1, Allow.write)
    let end = milliseconds() + duration
    repeat {
      for result in race([unmap, mapLess, unmap, mapOwn, unmap, mapLess, unmap, mapOwn, unmap], look) {
        expect(result == 0, "mapping and unmapping: \(result)")
      }
      expect(hostile_read(slot) == 0, "what was unmapped is back: \(hostile_read(slot))")
      mapped(mine.capability, Allow.write)
    } while milliseconds() < end
    unmapped()
    exocall(EXO_CALL_frame_free, mine.capability)
    exocall(EXO_CALL_frame_free, lent.capability)
  }

  /// A stack must be there to be pushed on. It is taken away and given back while the exokernel looks at it and pins it.
  private static func whilePinned() {
    let page = Pages(1).map(at: Place.scratch)
    let handler = hostile_catcher(0)
    let bindException = RingRequest(EXO_CALL_exception_bind.rawValue, 0, handler, Place.scratch + 4096)
    let unbindException = RingRequest(EXO_CALL_exception_unbind.rawValue, 0)
    let bindEvents = RingRequest(
      EXO_CALL_event_bind.rawValue, hostile_event_handler(), Place.scratch + 4096, 31)
    let unbindEvents = RingRequest(EXO_CALL_event_bind.rawValue, 0)
    // At random, for on one thread of an emulator's the two processors would take the same turns every time.
    var numbers = Numbers(state: Clock.now | 1)
    func flip() {
      guard numbers.next() & 0x30 != 0 else { return }
      let entry = hostile_read(slot)
      _ = exo_nucleus_protect(Place.scratch, entry, entry & 1 != 0 ? entry & ~3 | 1 << 63 : entry | 3)
    }
    let end = milliseconds() + duration
    repeat {
      for (bind, unbind) in [(bindException, unbindException), (bindEvents, unbindEvents)] {
        flip()
        let result = race([bind], flip)[0]
        if result == 0 {
          let entry = hostile_read(slot)
          expect(entry & 3 == 3, "a stack is bound on a page that is not there: \(entry)")
          expect(race([unbind], flip)[0] == 0, "unbinding is refused")
          expect(hostile_read(slot) & UInt64(EXO_PTE_PINNED) == 0, "the page is still pinned")
        } else {
          expectRefused(result, EXO_EFAULT, for: "binding")
          expect(hostile_read(slot) & UInt64(EXO_PTE_PINNED) == 0, "a refusal leaves the page pinned")
        }
      }
    } while milliseconds() < end
    exocall(EXO_CALL_protect, Place.scratch, 1, Allow.write)
    expect(exocall(EXO_CALL_unmap, Place.scratch, 1) == 0, "the stack is still pinned")
    expect(exocall(EXO_CALL_frame_free, page.capability) == 0, "the stack's frame is still held")
  }
}
