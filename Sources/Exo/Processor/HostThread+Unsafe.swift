import CKVM
import Glibc

/// A thread of the host, joined at most once.
@safe final class HostThread: @unchecked Sendable {
  // Invariant: `thread` is written once, before the object is shared.
  private var thread = pthread_t()

  /// Starts a thread that runs `body`; named as debuggers and `top -H` show it (at most 15 bytes).
  init(name: String, _ body: @escaping @Sendable () -> Void) throws(HostError) {
    let box = unsafe Unmanaged.passRetained(
      Body {
        unsafe name.withCString { unsafe _ = ckvm_name_thread($0) }
        _ = ckvm_quiet_thread()
        body()
      })
    let result = unsafe pthread_create(
      &thread, nil,
      { context in
        // Balances the retain above: the thread owns the body.
        let body = unsafe Unmanaged<Body>.fromOpaque(context!).takeRetainedValue()
        body.run()
        return nil
      }, box.toOpaque())
    guard result == 0 else {
      unsafe box.release()
      throw HostError("pthread_create", -result)
    }
  }

  func join() { unsafe _ = pthread_join(thread, nil) }

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
}
