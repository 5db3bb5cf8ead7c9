import ExoABI
import GuestRuntime
import LibOS

/// The primitives that take faults, with handlers of the LibOS: a page is accessed, the handler changes what pages
/// allow, the access goes on.
enum AppelLi {
  nonisolated(unsafe) private static var pages: Pages?
  nonisolated(unsafe) private static var previous: UInt64 = 0
  /// The page about to be accessed: what the handler need not have from the nucleus.
  nonisolated(unsafe) private static var current: UInt64 = 0
  nonisolated(unsafe) private static var faults: UInt64 = 0

  /// A fixed permutation of a hundred pages: 37 has no factor in common with 100.
  private static func order(_ place: UInt64) -> UInt64 { place &* 37 % 100 }

  /// Each access finds its page protected; the handler protects the page before it and unprotects this one.
  static func one(_ command: Command) -> Timing? {
    guard let pages = Pages.ofPrimitives else { return nil }
    Self.pages = pages
    faults = 0
    previous = order(99)
    pages.touch()
    guard pages.protect(), pages.unprotect(previous, 1) else { return nil }
    let timing = handling(with: exchange) {
      var place: UInt64 = 0
      return timed(command) {
        let page = order(place)
        current = page
        pages.write(page)
        previous = page
        place = place == 99 ? 0 : place + 1
      }
    }
    guard let timing, pages.unprotect(), faults == command.count else { return nil }
    return timing
  }

  /// A hundred pages are protected at once, then each is accessed and unprotected by the handler.
  static func two(_ command: Command) -> Timing? {
    guard let pages = Pages.ofPrimitives else { return nil }
    Self.pages = pages
    faults = 0
    let rounds = (command.count + 99) / 100
    let timing = handling(with: restore) {
      var total: UInt64 = 0
      for _ in 0..<rounds {
        pages.touch()
        let begin = exo_ticks()
        _ = pages.protect()
        for place in 0..<pages.count {
          current = order(place)
          pages.write(current)
        }
        total &+= exo_ticks() &- begin
      }
      return Timing(total, rounds * pages.count)
    }
    guard let timing, faults == timing.operations else { return nil }
    return timing
  }

  /// Whether a page was written: the hardware keeps the bit in a page table that this environment may read.
  static func dirty(_ command: Command) -> Timing? {
    guard let pages = Pages.ofPrimitives else { return nil }
    pages.touch()
    let tables = UInt(Startup.page.pointee.tables)
    guard let entries = UnsafePointer<UInt64>(bitPattern: tables + UInt(pages.address >> 12) * 8) else {
      return nil
    }
    var written: UInt64 = 0
    let timing = timed((command.count + 99) / 100) {
      for page in 0..<Int(pages.count) where entries[page] & 0x40 != 0 { written &+= 1 }
    }
    guard written == timing.operations * pages.count else { return nil }
    return Timing(timing.ticks, written)
  }

  private static func handling(
    with handler: @escaping Exceptions.Handler, _ body: () -> Timing
  ) -> Timing? {
    do throws(ExocallError) {
      try Exceptions.bind(.pageFault, withAddress: false, handler)
      let timing = body()
      try Exceptions.unbind(.pageFault)
      return timing
    } catch { return nil }
  }

  private static func exchange(_ frame: inout ExceptionFrame) {
    guard let pages else { return }
    faults &+= 1
    // Both requests are on their way before either is waited for.
    let first = machineRing.submit(pages.request(previous, .read))
    let second = machineRing.submit(pages.request(current, [.read, .write]))
    machineRing.notify()
    if let first { _ = machineRing.wait(first) }
    if let second { _ = machineRing.wait(second) }
  }
  private static func restore(_ frame: inout ExceptionFrame) {
    guard let pages else { return }
    faults &+= 1
    _ = pages.unprotect(current, 1)
  }
}
