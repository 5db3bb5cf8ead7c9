import BenchLoops
import ExoABI
import ExosMemory
import GuestRuntime
import LibOS

/// Every path that is counted, a line each: its name and the clock's ticks for eight runs, `-` if this machine has it not.
enum Counts {
  static func run() {
    guard let page = Pages.readOnlyPage else { return print("no page") }
    let ticks = UnsafeMutablePointer<UInt32>.allocate(capacity: 8)
    ticks.initialize(repeating: 0, count: 8)
    func report(_ name: String, _ done: Bool, from first: Int = 0, by step: Int = 1) {
      let runs = stride(from: first, to: 8, by: step)
      print(done ? runs.reduce(name) { "\($0) \(ticks[$1])" } : "\(name) -")
    }
    var index: Int32 = 0
    while let path = bench_counted_path(index)?.pointee {
      index += 1
      report(String(cString: path.name), run(path, ticks, page))
    }
    // The one way and the other in turn.
    let isProtected = protect(ticks)
    report("nucleus_protect_lower", isProtected, from: 0, by: 2)
    report("nucleus_protect_restore", isProtected, from: 1, by: 2)
    let isProtectedByLibOS = libosProtect(ticks)
    report("libos_protect_lower", isProtectedByLibOS, from: 0, by: 2)
    report("libos_protect_restore", isProtectedByLibOS, from: 1, by: 2)
    report("exception_bp_libos", swiftHandler(ticks))
    report("transfer_round", Transfers.count(ticks))
    report("transfer_round_trusting", Transfers.countTrusting(ticks))
    report("transfer_async_round", Transfers.countHanding(ticks))
    report("exocall_ring", exocall(ticks))
    // Last: from then on transfers make PKRU 0.
    report("keys_protect100", protectByKey(ticks))
    report("transfer_round_keys", ProtectionKeys.areOffered && Transfers.count(ticks))
    print("end")
  }

  private static func run(_ path: bench_counted, _ ticks: UnsafeMutablePointer<UInt32>, _ page: Pages) -> Bool
  {
    // The first time, what the hardware remembers is not there yet.
    func twice() {
      path.run(ticks, page.pointer(0))
      path.run(ticks, page.pointer(0))
    }
    do throws(ExocallError) {
      switch path.kind {
      case BENCH_COUNT_EXCEPTION.rawValue:
        try Exocall.exceptionBind(
          UInt8(path.vector), handler: path.handler, stackTop: bench_handler_stack(),
          flags: UInt64(path.flags))
        twice()
        try Exocall.exceptionUnbind(UInt8(path.vector))
      case BENCH_COUNT_UPCALL.rawValue:
        try SystemCalls.bind(path.handler)
        twice()
        try SystemCalls.unbind()
      case BENCH_COUNT_NUCLEUS.rawValue:
        guard NucleusCalls.areOffered else { return false }
        twice()
      default: twice()
      }
      return true
    } catch { return false }
  }

  /// A page that may be written.
  private static func writablePage() -> UInt64? {
    UInt64(UInt(bitPattern: UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 1 << 16)))
  }

  private static func protect(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    guard NucleusCalls.areOffered, let page = writablePage(),
      let pointer = UnsafeMutableRawPointer(bitPattern: UInt(page))
    else { return false }
    pointer.storeBytes(of: 1, as: UInt64.self)
    guard let entry = PageTables.entry(of: page) else { return false }
    for _ in 0..<2 { bench_count_protect(ticks, pointer, entry.bits, entry.bits & ~2) }
    return true
  }

  /// The same by the call of the LibOS, which reads the entry and falls back on an exocall.
  private static func libosProtect(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    guard let page = writablePage(), let pointer = UnsafeMutableRawPointer(bitPattern: UInt(page)) else {
      return false
    }
    pointer.storeBytes(of: 1, as: UInt64.self)
    for index in 0..<16 {
      let rights: Rights = index & 1 == 0 ? .read : [.read, .write]
      let begin = exo_ticks()
      do throws(ExocallError) { try Exocall.protect(page, pages: 1, rights: rights) } catch { return false }
      ticks[index & 7] = UInt32(truncatingIfNeeded: exo_ticks() &- begin)
    }
    return true
  }

  /// #BP to a handler in Swift, with everything saved and restored, and back.
  private static func swiftHandler(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    do throws(ExocallError) {
      try Exceptions.bind(.breakpoint) { frame in frame.rip = frame.r11 }
      for index in 0..<16 {
        let begin = exo_ticks()
        exo_raise_breakpoint()
        ticks[index & 7] = UInt32(truncatingIfNeeded: exo_ticks() &- begin)
      }
      try Exceptions.unbind(.breakpoint)
      return true
    } catch { return false }
  }

  /// A hundred pages, and back.
  private static func protectByKey(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    guard let key = try? ProtectionKeys.take() else { return false }
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 100 << 12, alignment: 4096)
    guard (try? key.tag(UInt64(UInt(bitPattern: memory)), pages: 100)) != nil else { return false }
    for index in 0..<16 {
      let rights: Rights = index & 1 == 0 ? .read : [.read, .write]
      let begin = exo_ticks()
      key.allow(rights)
      ticks[index & 7] = UInt32(truncatingIfNeeded: exo_ticks() &- begin)
    }
    return true
  }

  private static func exocall(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    for index in 0..<16 {
      let begin = exo_ticks()
      do throws(ExocallError) { try Exocall.null() } catch { return false }
      ticks[index & 7] = UInt32(truncatingIfNeeded: exo_ticks() &- begin)
    }
    return true
  }
}
