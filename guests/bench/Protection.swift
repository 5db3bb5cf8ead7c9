import GuestRuntime

/// Changing what pages allow. Only the change is timed: before it every page is writable and written.
enum Protection {
  /// One page at a time, a hundred in turn.
  static func one(_ command: Command) -> Timing? {
    guard let pages = Pages.ofPrimitives else { return nil }
    var total: UInt64 = 0
    let rounds = (command.count + 99) / 100
    var left = rounds
    while left > 0 {
      pages.touch()
      let begin = exo_ticks()
      for page in 0..<pages.count where !pages.protect(page, 1) { return nil }
      total &+= exo_ticks() &- begin
      guard pages.unprotect() else { return nil }
      left -= 1
    }
    return Timing(total, rounds * pages.count)
  }

  static func hundred(_ command: Command, restoring: Bool) -> Timing? {
    guard let pages = Pages.ofPrimitives else { return nil }
    var total: UInt64 = 0
    var left = command.count
    while left > 0 {
      pages.touch()
      let begin = exo_ticks()
      guard pages.protect() else { return nil }
      let middle = exo_ticks()
      guard pages.unprotect() else { return nil }
      total &+= restoring ? exo_ticks() &- middle : middle &- begin
      left -= 1
    }
    return Timing(total, command.count)
  }
}
