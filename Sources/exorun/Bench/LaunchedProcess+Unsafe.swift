import BenchKit
import Glibc

/// Runs this program as a process of its own with its output in a pipe. Nanoseconds from before it is spawned until
/// its output has been read and it has been waited for.
func launchProcess(_ arguments: [String]) throws(SampleError) -> Double {
  let pipe = try Pipe()
  var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
  defer { for index in unsafe words.indices { unsafe free(words[index]) } }
  var actions = posix_spawn_file_actions_t()
  unsafe posix_spawn_file_actions_init(&actions)
  defer { unsafe posix_spawn_file_actions_destroy(&actions) }
  unsafe posix_spawn_file_actions_adddup2(&actions, pipe.writeEnd, STDOUT_FILENO)

  let begin = monotonicNanoseconds()
  var child: pid_t = 0
  let result = unsafe posix_spawn(&child, "/proc/self/exe", &actions, nil, &words, environ)
  guard result == 0 else { throw .failed("spawning: errno \(result)") }
  pipe.closeWriteEnd()
  var output: [UInt8] = []
  while let bytes = try pipe.read(patience: 20_000) { output += bytes }
  var status: Int32 = 0
  unsafe waitpid(child, &status, 0)
  let end = monotonicNanoseconds()
  guard status == 0, !output.isEmpty else {
    throw .failed("\(arguments.joined(separator: " ")): status \(status)")
  }
  return end - begin
}
