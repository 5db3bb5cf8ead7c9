import LibOS

/// What a guest was promised, a line for each, and whether all of it was kept.
enum Promises {
  nonisolated(unsafe) private static var kept = 0
  nonisolated(unsafe) private static var broken = 0

  static func check(_ holds: Bool, _ promise: String) {
    if holds { kept += 1 } else { broken += 1 }
    print("\(holds ? "ok    " : "FAILED") \(promise)")
  }

  /// Runs a part; an exocall refused where none should be is a promise broken.
  static func part(_ name: String, _ body: () throws(ExocallError) -> Void) {
    let wanted = Arguments.count > 1 ? Arguments.all[1] : name
    guard name == wanted else { return }
    do throws(ExocallError) { try body() } catch { check(false, "\(name): an exocall was refused: \(error)") }
  }

  /// That an exocall is refused, and why.
  static func refused(
    _ reason: ExocallError, _ promise: String, _ body: () throws(ExocallError) -> Void
  ) {
    do throws(ExocallError) {
      try body()
      check(false, "\(promise): it was not refused")
    } catch {
      check(error == reason, error == reason ? promise : "\(promise): \(error)")
    }
  }

  static func finish() -> Never {
    let name = Arguments.name
    if kept + broken == 0 {
      print("\(name): no part is called \(Arguments.all[1])")
      exit(2)
    }
    print("\(name): \(kept) promises kept, \(broken) broken")
    exit(broken == 0 ? 0 : 1)
  }
}
