import ExoABI
import HostileSupport
import LibOS

/// The exokernel builds an address space once and gives it to one environment after another.
extension Attack {
  /// What a predecessor saw, its successor does not, however soon it comes.
  static var usedSpaces: Attack {
    Attack(
      "used-spaces",
      "Children look for pages where others before them had some, for as long as address spaces go round."
    ) {
      let page = Pages(1).map(at: Place.scratch)
      hostile_write(Place.scratch, 0x5ec4_e7)
      for round in 0..<24 as Range<UInt64> {
        var owner = Child()
        owner.give(page, at: Place.mailbox, Allow.write)
        owner.start(round % 2 == 0 ? HOSTILE_TOUCH : HOSTILE_STORE, Place.mailbox)
        let end = owner.wait()
        expect(end == .exited(0), "round \(round): the page's user ended otherwise: \(end.text)")
        // Two, so that all address spaces come to them.
        for program in [HOSTILE_TOUCH, HOSTILE_STORE] {
          let end = Child.run(program, Place.mailbox)
          expect(end == .faulted(14, at: Place.mailbox), "round \(round): a successor: \(end.text)")
        }
      }
    }
  }
}
