import ExoABI

/// A gate: a right to enter an environment at its protected entry context, which it hands out by capability.
struct Gate: Hashable, Sendable {
  let owner: EnvironmentID
}

/// What a caller made of its capability to a gate: a way there and back, and a page that both ends share. The page is the
/// exokernel's, so that neither end can take it from under the other.
///
/// It is open until either end, or the gate, or the capability it was made with goes. Then transfers are refused, the other
/// end is told, and keeps the page until it lets go of its number.
struct Connection: Sendable {
  /// Nil where the caller made the callee, and needs none (`Readiness`).
  let gate: UInt32?
  /// The caller's capability that it stands on.
  let handle: CapabilityHandle
  /// The shared page.
  let lines: Frame
  /// Whether both ends are on one processor, so that the nucleus takes one to the other.
  let isLocal: Bool
  /// Nil once the end has let go.
  var caller: End?
  var callee: End?
  var isOpen = true
  /// Whether transfers are held back because the callee is stopped.
  var isHeld = false

  struct End: Hashable, Sendable {
    let environment: EnvironmentID
    /// Of the connection, in this environment.
    let number: Int
  }

  var ends: [End] { [caller, callee].compactMap { $0 } }
  func peer(of environment: EnvironmentID) -> End? { ends.first { $0.environment != environment } }
}
