import ExoABI
import HostileSupport
import LibOS

/// There is no interrupt controller in the machine, so that nobody can interrupt others by it, and nothing waits for the end of
/// an interrupt. So its pages are no memory, its registers are not ring 3's, and events come however many came before.
extension Attack {
  static var interruptController: Attack {
    Attack(
      "interrupt-controller", "Looks for the interrupt controller by every way, and takes events without end."
    ) {
      catchExceptions()
      // Where it lies in a usual machine: identifier, priority, end of interrupt, command; the I/O one; the timer.
      let pages: [UInt64] = [0xfee0_0000, 0xfec0_0000, 0xfed0_0000, 0xfee0_1000]
      for page in pages {
        for offset: UInt64 in [0x20, 0x80, 0xb0, 0x300, 0x310, 0x10, 0xff8] {
          expectFault(hostile_load, at: page + offset, "load")
          expectFault(hostile_store, at: page + offset, "store")
        }
        expectFault(hostile_call, at: page, "call")
      }
      // Its frame by every number that a careless sum would make of one: memory starts at 4 GiB.
      let base: UInt64 = 1 << 32
      for page in pages {
        let below = page &- base
        for number in [
          page >> 12, below >> 12, below >> 12 & 0xffff_ffff, 0 &- ((base - page) >> 12), below, page,
        ] {
          for count: UInt64 in [1, 2, 0x11200] {
            expectRefused(
              exocall(EXO_CALL_frame_allocate, number, count), EXO_ERANGE, EXO_EINVAL, EXO_EDQUOT,
              for: "\(count) frames from \(number)")
          }
        }
      }
      // By number too: end of interrupt, command, an interrupt for oneself; the priority is CR8.
      let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 2)
      for index: UInt64 in [0x1b, 0x808, 0x80b, 0x830, 0x83f] {
        words[0] = index
        words[1] = 0xc_4500
        for fault in [
          attempt(hostile_read_register, index),
          attempt(hostile_write_register, UInt64(UInt(bitPattern: words))),
        ] { expect(fault?.vector == 13, "register \(index) raised vector \(fault?.vector ?? 0)") }
      }
      eventsWithoutEnd()
    }
  }

  /// More than an interrupt controller has vectors. Polled, and by a handler.
  private static func eventsWithoutEnd() {
    let stack = Pages(1).map(at: Place.scratch)
    func posted() -> UInt32 { hostile_read32(exo_kit_events) }
    func take() {
      hostile_write32(exo_kit_trap + UInt64(EXO_CONTROL_OFFSET) + 4, posted())
      hostile_write32(exo_kit_trap + UInt64(EXO_CONTROL_OFFSET), 0)
    }
    for turn in 0..<300 {
      let before = posted()
      exocall(EXO_CALL_timer_set, 1)
      let end = milliseconds() + patience
      while posted() == before { if milliseconds() > end { succeeded("event \(turn) does not come") } }
      take()
    }
    expect(
      exocall(EXO_CALL_event_bind, hostile_event_handler(), Place.scratch + 4096, 31) == 0,
      "binding is refused")
    let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 2)
    for turn in 0..<300 {
      let before = hostile_events_seen()
      words[0] = 0x202
      words[1] = before
      exocall(EXO_CALL_timer_set, 1)
      hostile_await_event(UInt64(UInt(bitPattern: words)))
      expect(hostile_events_seen() == before + 1, "event \(turn) does not enter the handler")
      take()
    }
    expect(exocall(EXO_CALL_event_bind, 0) == 0, "unbinding is refused")
    exocall(EXO_CALL_unmap, Place.scratch, 1)
    exocall(EXO_CALL_frame_free, stack.capability)
  }
}
