import LibOS

/// Why a row could not be run, for the answer.
enum Refusal {
  nonisolated(unsafe) static var reason = "-"

  static func of(_ error: ExocallError, at step: StaticString = #function) -> Timing? {
    reason = "\(step): error \(error.number)"
    return nil
  }
  static func because(_ text: String) -> Timing? {
    reason = text
    return nil
  }
}
