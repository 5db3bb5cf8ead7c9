import ExosProcess
import GuestRuntime
import LibOS

/// A process of the smallest guest, from its making to the answer that it has ended.
enum Spawns {
  /// On this environment's time.
  static func run(_ command: Command) -> Timing? {
    measured(command) { (image, library, record, options) throws(ProcessError) in
      try Process.run(image, from: library, record, options)
    }
  }

  /// On a virtual processor of its own.
  static func apart(_ command: Command) -> Timing? {
    measured(command) { (image, library, record, options) throws(ProcessError) in
      var process = try Process.prepare(image, from: library, options)
      try process.start(image, record)
      return try? process.wait()
    }
  }

  private static func measured(
    _ command: Command,
    _ body: (ImageLibrary.Image, Library, ProcessRecord, Process.Options) throws(ProcessError)
      -> EnvironmentEnd?
  ) -> Timing? {
    guard let library = Library.own(), let image = library.images.image(named: "true") else { return nil }
    var options = Process.Options()
    options.quota = EnvironmentQuota(frames: 64, capabilities: 32, bindings: 2)
    options.stackPages = 4
    let record = ProcessRecord(arguments: ["true"])
    var failed = false
    let timing = timed(command) {
      do throws(ProcessError) {
        if try body(image, library, record, options) != .exited(status: 0) { failed = true }
      } catch { failed = true }
    }
    return failed ? nil : timing
  }
}
