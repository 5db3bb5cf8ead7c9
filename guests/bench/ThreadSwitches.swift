import ExoABI
import ExosThreads
import GuestRuntime
import LibOS

/// Two threads of one environment that give their turns to each other: a matter of the LibOS alone. In an environment of
/// their own, for threads change how events come.
enum ThreadSwitches {
  static func run(_ command: Command) -> Timing? {
    Duo.alone(command, EnvironmentQuota(frames: 256, capabilities: 64, bindings: 32)) { _ in
      do throws(ExocallError) { try Threads.begin() } catch { return 1 }
      do throws(ThreadError) {
        let other = try Threads.spawn { while Duo.load(Duo.Word.free) == 0 { Threads.yield() } }
        Threads.yield()
        let before = Threads.statistics.switches
        let timing = timed(Duo.load(Duo.Word.count)) { Threads.yield() }
        // There and back are two.
        let switches = UInt64(Threads.statistics.switches - before)
        Duo.store(Duo.Word.free, 1)
        try Threads.join(other)
        guard switches >= timing.operations * 2 else { return 2 }
        return Duo.report(Timing(timing.ticks, timing.operations * 2))
      } catch { return 1 }
    }
  }
}
