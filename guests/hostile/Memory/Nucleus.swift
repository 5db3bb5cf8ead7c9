import ExoABI
import HostileSupport

/// Reads, writes and executes the nucleus's pages, what lies around them, and the upper half at random. Page tables
/// refuse all of it: supervisor pages at most, and none writable.
extension Attack {
  static var nucleus: Attack {
    Attack("nucleus", "Reads, writes and executes the nucleus and the upper half.") {
      catchExceptions()
      for page in [exo_nucleus_text, exo_nucleus_data, exo_nucleus_idt] {
        for offset: UInt64 in [0, 0x100, 0x200, 0xff8] {
          expectFault(hostile_load, at: page + offset, "load")
          expectFault(hostile_store, at: page + offset, "store")
          expectFault(hostile_call, at: page + offset, "call")
        }
      }
      for address: UInt64 in [
        exo_nucleus_base - 8, exo_nucleus_scratch + 4096, exo_nucleus_tables, 0xffff_ffff_8100_0000, .max - 7,
      ] {
        expectFault(hostile_load, at: address, "load")
        expectFault(hostile_store, at: address, "store")
        expectFault(hostile_call, at: address, "call")
      }
      // Where there is something, it is the trap page.
      expectFault(hostile_call, at: exo_nucleus_scratch, "call")
      var numbers = Numbers(state: 0x1234_5678_9abc_def1)
      for _ in 0..<48 {
        let address = (numbers.next() | 0xffff_8000_0000_0000) & ~7
        expectFault(hostile_load, at: address, "load")
        expectFault(hostile_store, at: address, "store")
      }
    }
  }

  /// The same with nothing bound: the nucleus's own gate ends the environment.
  static var nucleusStore: Attack {
    Attack("nucleus-store", "Writes to the interrupt table with no handler: a page fault ends it.") {
      hostile_store(exo_nucleus_idt)
      succeeded("store to the interrupt table")
    }
  }
}
