import BenchLoops
import ExoABI
import LibOS

/// Exceptions that this environment handles itself: the gates lead to handlers of its own, without a LibOS between.
enum ExceptionRows {
  static func run(_ command: Command) -> Timing? {
    guard let page = Pages.readOnlyPage else { return nil }
    var index: Int32 = 0
    while let row = bench_exception_row(index)?.pointee {
      index += 1
      guard String(cString: row.row) == command.row else { continue }
      do throws(ExocallError) {
        try Exocall.exceptionBind(
          UInt8(row.vector), handler: row.handler, stackTop: bench_handler_stack(), flags: UInt64(row.flags))
        let ticks = row.raise(command.count, page.pointer(0))
        try Exocall.exceptionUnbind(UInt8(row.vector))
        guard ticks > 0 else { return Refusal.because("not raised by this processor") }
        return Timing(ticks, command.count)
      } catch { return nil }
    }
    return nil
  }
}
