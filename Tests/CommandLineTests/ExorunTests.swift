import TestSupport
import Testing

/// exorun as people and scripts use it: started as a program, judged by its exit code and what it writes. One at a
/// time, since each waits for its child on the thread it runs on.
@Suite(.serialized) struct ExorunTests {}

/// Expects an end with this exit code and exactly one line on standard error, which contains `text`.
func expectComplaint(
  _ code: Int32, _ text: String, _ command: Command, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let result = try command.run()
  #expect(result.status == .exited(code), sourceLocation: sourceLocation)
  let lines = result.errors.split(separator: "\n", omittingEmptySubsequences: false)
  #expect(lines.count == 2 && lines.last == "", "\(result.errors)", sourceLocation: sourceLocation)
  #expect(result.errors.hasPrefix("exorun: "), "\(result.errors)", sourceLocation: sourceLocation)
  #expect(result.errors.contains(text), "\(result.errors)", sourceLocation: sourceLocation)
  #expect(result.output == "", sourceLocation: sourceLocation)
}
