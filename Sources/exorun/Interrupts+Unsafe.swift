import Glibc
import Synchronization

/// SIGINT and SIGTERM, taken by a thread of their own: the first is for the guest, and its end is then exorun's.
/// One that finds no guest yet, and a second, should the first not have been enough, end exorun on the spot. A terminal is left as it was found,
/// since nothing here ever changes its modes.
final class Interrupts: Sendable {
  private struct State {
    var first: Int32?
    var action: (@Sendable () -> Void)?
  }
  private let state = Mutex(State())

  /// The signal that came, if one did.
  var signal: Int32? { state.withLock { $0.first } }

  /// Call before other threads are started: they inherit that these signals are not for them. A signal that was
  /// ignored when exorun started (`nohup`, `&` in a script) stays ignored.
  static func watch() -> Interrupts {
    let interrupts = Interrupts()
    var watched = sigset_t()
    unsafe sigemptyset(&watched)
    for signal in [SIGINT, SIGTERM] where !isIgnored(signal) { unsafe sigaddset(&watched, signal) }
    unsafe pthread_sigmask(SIG_BLOCK, &watched, nil)
    let context = unsafe Unmanaged.passRetained(Watch(interrupts, watched))
    var thread = pthread_t()
    let result = unsafe pthread_create(
      &thread, nil,
      { context in
        // Balances the retain above: the thread owns its context.
        unsafe Unmanaged<Watch>.fromOpaque(context!).takeRetainedValue().run()
        return nil
      }, context.toOpaque())
    if result == 0 {
      pthread_detach(thread)
    } else {
      // Without the thread the signals do what they always do.
      unsafe context.release()
      unsafe pthread_sigmask(SIG_UNBLOCK, &watched, nil)
    }
    return interrupts
  }

  /// What to do at the first signal from now on.
  func onFirst(_ action: @escaping @Sendable () -> Void) { state.withLock { $0.action = action } }

  private static func isIgnored(_ signal: Int32) -> Bool {
    var current = sigaction()
    guard unsafe sigaction(signal, nil, &current) == 0 else { return false }
    // SIG_IGN is the handler address 1.
    return unsafe unsafeBitCast(current.__sigaction_handler.sa_handler, to: Int.self) == 1
  }

  fileprivate func take(_ signal: Int32) {
    let action = state.withLock { state in
      defer { state.first = state.first ?? signal }
      return state.first == nil ? state.action : nil
    }
    guard let action else { _exit(128 + signal) }
    action()
  }

  private final class Watch: Sendable {
    private let interrupts: Interrupts
    private let signals: sigset_t
    init(_ interrupts: Interrupts, _ signals: sigset_t) {
      self.interrupts = interrupts
      self.signals = signals
    }
    func run() {
      var (signals, signal) = (self.signals, Int32())
      while unsafe sigwait(&signals, &signal) == 0 { interrupts.take(signal) }
    }
  }
}
