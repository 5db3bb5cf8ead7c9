import ExosProcess
import GuestRuntime
import LibOS

/// A process of the smallest guest, from its making to the answer that it has ended.
enum Spawns {
  static func run(_ command: Command) -> Timing? {
    guard let library = Library.own(), let image = library.images.image(named: "true") else { return nil }
    var options = Process.Options()
    options.quota = EnvironmentQuota(frames: 64, capabilities: 32)
    options.stackPages = 4
    let record = ProcessRecord(arguments: ["true"])
    var failed = false
    let timing = timed(command) {
      do throws(ProcessError) {
        var process = try Process.prepare(image, from: library, options)
        try process.start(image, record)
        if (try? process.wait()) != .exited(status: 0) { failed = true }
      } catch { failed = true }
    }
    return failed ? nil : timing
  }
}
