import ConcurrencySupport
import ExosNetwork
import ExosThreads
import LibOS
import _Concurrency

/// Swift's tasks on the LibOS's threads: `async` functions, actors and task groups as one thread among the others, which they
/// share the processor with by the same policy. Among themselves tasks take turns where they wait.
///
/// It is one thread because the concurrency library of Embedded Swift keeps what the current task is in one place for the
/// whole program. So tasks are made within tasks, the first one by `run`.
public enum Tasks {
  private enum Work {
    case job(UInt64)
    case start(@Sendable () async -> Void, Channel<Bool>)
    case resume(UnsafeContinuation<Datagram?, Never>, Datagram?)
  }
  nonisolated(unsafe) private static var queue: Channel<Work>?
  nonisolated(unsafe) private static var waiting: Channel<Bool>?

  /// Runs an asynchronous function to its end while the calling thread waits. Threads must have begun.
  /// - Throws: `deadlock` if it waits for what never comes, `outOfMemory`.
  public static func run(
    stackPages: UInt64 = 64, _ body: @escaping @Sendable () async -> Void
  ) throws(ThreadError) {
    if queue == nil {
      let new = Channel<Work>(capacity: .max)
      queue = new
      try Threads.spawn(stackPages: stackPages) { serve(new) }
    }
    let done = Channel<Bool>()
    waiting = done
    try queue?.send(.start(body, done))
    do throws(ThreadError) { _ = try done.receive() } catch { throw error == .closed ? .deadlock : error }
  }

  private static func serve(_ queue: Channel<Work>) {
    while true {
      do throws(ThreadError) {
        switch try queue.receive() {
        case .job(let job): exo_job_run(job)
        case .resume(let continuation, let datagram): continuation.resume(returning: datagram)
        case .start(let body, let done):
          nonisolated(unsafe) let end = done
          Task {
            await body()
            try? end.send(true)
          }
        }
      } catch {
        // Nobody is left who could go on: whoever waits for the task learns of it. The next `run` begins anew.
        Self.queue = nil
        waiting?.close()
        waiting = nil
        return
      }
    }
  }

  /// Has a task go on that waits for a datagram.
  static func resume(_ continuation: UnsafeContinuation<Datagram?, Never>, with datagram: Datagram?) {
    try? queue?.send(.resume(continuation, datagram))
  }

  fileprivate static func enqueue(_ job: UInt64) { try? queue?.send(.job(job)) }

  fileprivate static func enqueue(_ job: UInt64, after nanoseconds: UInt64) {
    let time = Clock.now + nanoseconds
    do throws(ThreadError) {
      try Threads.spawn(stackPages: 4) {
        Threads.sleep(until: time)
        enqueue(job)
      }
    } catch { enqueue(job) }
  }
}

@c(exo_guest_enqueue)
func enqueueJob(_ job: UInt64) { Tasks.enqueue(job) }
@c(exo_guest_enqueue_after)
func enqueueJob(_ nanoseconds: UInt64, _ job: UInt64) { Tasks.enqueue(job, after: nanoseconds) }
