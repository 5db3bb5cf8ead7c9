import ExoABI
import ExosProcess
import GuestRuntime
import LibOS

/// What the shell does itself.
enum Builtins {
  typealias Body = (Shell, [String]) -> Int32

  static func named(_ name: String) -> Body? {
    switch name {
    case "echo": echo
    case "exit": leave
    case "history": history
    case "jobs": jobs
    case "fg": foreground
    case "bg": background
    case "kill": kill
    case "wait": wait
    case "ls": list
    case "mkdir": makeDirectory
    case "rm": remove
    case "wc": count
    case "help": help
    default: nil
    }
  }

  private static func echo(_ shell: Shell, _ words: [String]) -> Int32 {
    print(Array(words.dropFirst()).joinedBySpaces)
    return 0
  }
  private static func leave(_ shell: Shell, _ words: [String]) -> Int32 {
    exit(words.count > 1 ? Int32(number(words[1]) ?? 2) : shell.status)
  }
  private static func history(_ shell: Shell, _ words: [String]) -> Int32 {
    for (index, line) in shell.terminal.history.enumerated() { print("\(index + 1)  \(line)") }
    return 0
  }
  private static func jobs(_ shell: Shell, _ words: [String]) -> Int32 {
    for job in shell.jobs {
      let state = job.isStopped ? "stopped" : job.poll() ? "done(\(job.status))" : "running"
      print("[\(job.number)] \(state)  \(job.text)")
    }
    return 0
  }
  private static func job(_ shell: Shell, _ words: [String]) -> Job? {
    let found =
      words.count > 1
      ? shell.jobs.first { "%\($0.number)" == words[1] || "\($0.number)" == words[1] } : shell.jobs.last
    if found == nil { shell.complain("\(words[0]): no such job") }
    return found
  }
  private static func foreground(_ shell: Shell, _ words: [String]) -> Int32 {
    guard let job = job(shell, words) else { return 1 }
    print(job.text)
    if job.isStopped { job.group.send(.proceed) }
    job.isStopped = false
    shell.wait(for: job)
    return shell.status
  }
  private static func background(_ shell: Shell, _ words: [String]) -> Int32 {
    guard let job = job(shell, words) else { return 1 }
    if job.isStopped { job.group.send(.proceed) }
    job.isStopped = false
    print("[\(job.number)] \(job.text)")
    return 0
  }
  private static func kill(_ shell: Shell, _ words: [String]) -> Int32 {
    var words = words
    var signal = Signal.terminate
    if words.count > 1, words[1].hasPrefix("-") {
      guard let given = number(String(words[1].dropFirst())).flatMap({ Signal(rawValue: UInt64($0)) }) else {
        shell.complain("kill: \(words[1]): no such signal")
        return 1
      }
      signal = given
      words.remove(at: 1)
    }
    guard let job = job(shell, words) else { return 1 }
    if signal == .stop { job.isStopped = true }
    if signal == .proceed { job.isStopped = false }
    return job.group.send(signal) > 0 ? 0 : 1
  }
  private static func wait(_ shell: Shell, _ words: [String]) -> Int32 {
    while let job = words.count > 1 ? job(shell, words) : shell.jobs.first(where: { !$0.isStopped }) {
      while true {
        let mark = Wakeup.mark
        if job.poll() { break }
        Wakeup.sleep(since: mark)
      }
      let status = job.status
      job.release()
      shell.jobs.removeAll { $0 === job }
      if words.count > 1 { return status }
    }
    return 0
  }
  private static func files(
    _ shell: Shell, _ words: [String], _ body: (FileTree, String) throws(FileError) -> Void
  ) -> Int32 {
    guard let tree = shell.files?.tree else {
      shell.complain("there are no files here")
      return 1
    }
    var status: Int32 = 0
    for path in words.count > 1 ? Array(words.dropFirst()) : ["/"] {
      do throws(FileError) { try body(tree, path) } catch {
        shell.complain("\(words[0]): \(path): \(error)")
        status = 1
      }
    }
    return status
  }
  private static func list(_ shell: Shell, _ words: [String]) -> Int32 {
    files(shell, words) { (tree, path) throws(FileError) in
      for entry in try tree.list(path) {
        print(entry.kind == .directory ? "\(entry.name)/" : "\(entry.name)  \(entry.size)")
      }
    }
  }
  private static func makeDirectory(_ shell: Shell, _ words: [String]) -> Int32 {
    files(shell, words) { (tree, path) throws(FileError) in _ = try tree.create(path, .directory) }
  }
  private static func remove(_ shell: Shell, _ words: [String]) -> Int32 {
    files(shell, words) { (tree, path) throws(FileError) in try tree.remove(path) }
  }
  private static func count(_ shell: Shell, _ words: [String]) -> Int32 {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
    defer { buffer.deallocate() }
    var (lines, counted, bytes, inWord) = (0, 0, 0, false)
    while true {
      let count = (try? Console.read(into: buffer)) ?? 0
      if count == 0 { break }
      bytes += count
      for byte in buffer[..<count] {
        if byte == 0x0a { lines += 1 }
        let isBlank = byte == 0x20 || byte == 0x09 || byte == 0x0a
        if !isBlank, !inWord { counted += 1 }
        inWord = !isBlank
      }
    }
    print("\(lines) \(counted) \(bytes)")
    return 0
  }
  private static func help(_ shell: Shell, _ words: [String]) -> Int32 {
    print("echo exit history jobs fg bg kill wait ls mkdir rm wc help")
    print(shell.library.images.names.joinedBySpaces)
    return 0
  }

  private static func number(_ text: String) -> Int? {
    var value = 0
    for byte in text.utf8 {
      guard byte >= 0x30, byte <= 0x39, value < 1_000_000 else { return nil }
      value = value * 10 + Int(byte - 0x30)
    }
    return text.utf8.isEmpty ? nil : value
  }
}
