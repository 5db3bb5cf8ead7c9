import BenchLoops
import ExoABI
import ExosMemory
import GuestRuntime
import LibOS

/// Appel and Li's primitives in an application that keeps account of its pages in an inverted page table: whatever is done to
/// a page, the table is asked for its frame and told what the page allows.
enum Inverted {
  nonisolated(unsafe) private static var table: InvertedPageTable?
  nonisolated(unsafe) private static var pages: Pages?
  nonisolated(unsafe) private static var previous: UInt64 = 0
  nonisolated(unsafe) private static var faults: UInt64 = 0

  static func run(_ command: Command) -> Timing? {
    guard let pages = Pages.ofPrimitives else { return nil }
    Self.pages = pages
    if table == nil {
      var new = InvertedPageTable(frames: Int(pages.count))
      for page in 0..<pages.count { new.insert(frame: Int(page), page: number(page), [.read, .write]) }
      table = new
    }
    faults = 0
    switch command.row {
    case "dirty_inverted": return dirty(command)
    case "prot1_inverted": return one(command)
    case "prot100_inverted": return hundred(command, restoring: false)
    case "unprot100_inverted": return hundred(command, restoring: true)
    case "trap_inverted": return trap(command)
    case "appel1_inverted": return exchange(command)
    case "appel2_inverted": return restore(command)
    default: return nil
    }
  }

  private static func number(_ page: UInt64) -> UInt64 { (pages?.address ?? 0) >> 12 + page }
  private static func order(_ place: UInt64) -> UInt64 { place &* 37 % 100 }

  /// Changes what pages allow, in the table and then in the hardware's.
  @inline(__always)
  private static func change(_ first: UInt64, _ count: UInt64, _ rights: Rights) -> Bool {
    guard let pages else { return false }
    guard table?.setRights(of: number(first)..<number(first + count), rights) ?? false else { return false }
    return rights.contains(.write) ? pages.unprotect(first, count) : pages.protect(first, count)
  }

  private static func dirty(_ command: Command) -> Timing? {
    guard let pages else { return nil }
    pages.touch()
    let tables = UInt(Startup.page.pointee.tables)
    guard let entries = UnsafePointer<UInt64>(bitPattern: tables + UInt(pages.address >> 12) * 8) else {
      return nil
    }
    var written: UInt64 = 0
    let timing = timed((command.count + 99) / 100) {
      for page in 0..<pages.count {
        guard let frame = table?.find(page: number(page)) else { continue }
        if entries[frame] & 0x40 != 0 { written &+= 1 }
      }
    }
    guard written == timing.operations * pages.count else { return nil }
    return Timing(timing.ticks, written)
  }

  private static func one(_ command: Command) -> Timing? {
    guard let pages else { return nil }
    var total: UInt64 = 0
    let rounds = (command.count + 99) / 100
    for _ in 0..<rounds {
      pages.touch()
      let begin = exo_ticks()
      for page in 0..<pages.count where !change(page, 1, .read) { return nil }
      total &+= exo_ticks() &- begin
      guard change(0, pages.count, [.read, .write]) else { return nil }
    }
    return Timing(total, rounds * pages.count)
  }

  private static func hundred(_ command: Command, restoring: Bool) -> Timing? {
    guard let pages else { return nil }
    var total: UInt64 = 0
    for _ in 0..<command.count {
      pages.touch()
      let begin = exo_ticks()
      guard change(0, pages.count, .read) else { return nil }
      let middle = exo_ticks()
      guard change(0, pages.count, [.read, .write]) else { return nil }
      total &+= restoring ? exo_ticks() &- middle : middle &- begin
    }
    return Timing(total, command.count)
  }

  private static func handling(
    with handler: @escaping (PageFault, inout ExceptionFrame) -> Void, _ body: () -> Timing
  ) -> Timing? {
    do throws(ExocallError) {
      try PageFaults.bind(handler)
      let timing = body()
      try PageFaults.unbind()
      return timing
    } catch { return nil }
  }

  /// The handler finds that the page may not be written, and steps over the store.
  private static func trap(_ command: Command) -> Timing? {
    guard let pages, change(0, 1, .read) else { return nil }
    var index: Int32 = 0
    while let row = bench_exception_row(index)?.pointee {
      index += 1
      guard String(cString: row.row) == "trap" else { continue }
      let timing = handling { fault, frame in
        guard let rights = table?.rights(of: fault.address >> 12), !rights.contains(.write) else { return }
        faults &+= 1
        frame.rip += 3
      } _: {
        Timing(row.raise(command.count, pages.pointer(0)), command.count)
      }
      guard change(0, 1, [.read, .write]), faults >= command.count else { return nil }
      return timing
    }
    return nil
  }

  private static func exchange(_ command: Command) -> Timing? {
    guard let pages else { return nil }
    previous = order(99)
    pages.touch()
    guard change(0, pages.count, .read), change(previous, 1, [.read, .write]) else { return nil }
    let timing = handling { fault, _ in
      guard let frame = table?.find(page: fault.address >> 12) else { return }
      faults &+= 1
      table?.setRights(of: number(previous), .read)
      table?.setRights(of: fault.address >> 12, [.read, .write])
      // Both requests are on their way before either is waited for.
      let first = machineRing.submit(pages.request(previous, .read))
      let second = machineRing.submit(pages.request(UInt64(frame), [.read, .write]))
      machineRing.notify()
      if let first { _ = machineRing.wait(first) }
      if let second { _ = machineRing.wait(second) }
    } _: {
      var place: UInt64 = 0
      return timed(command) {
        let page = order(place)
        pages.write(page)
        previous = page
        place = place == 99 ? 0 : place + 1
      }
    }
    guard let timing, change(0, pages.count, [.read, .write]), faults == command.count else { return nil }
    return timing
  }

  private static func restore(_ command: Command) -> Timing? {
    guard let pages else { return nil }
    let rounds = (command.count + 99) / 100
    let timing = handling { fault, _ in
      guard let frame = table?.find(page: fault.address >> 12) else { return }
      faults &+= 1
      _ = change(UInt64(frame), 1, [.read, .write])
    } _: {
      var total: UInt64 = 0
      for _ in 0..<rounds {
        pages.touch()
        let begin = exo_ticks()
        _ = change(0, pages.count, .read)
        for place in 0..<pages.count { pages.write(order(place)) }
        total &+= exo_ticks() &- begin
      }
      return Timing(total, rounds * pages.count)
    }
    guard let timing, faults == timing.operations else { return nil }
    return timing
  }
}
