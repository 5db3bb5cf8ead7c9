import ExoABI
import ExosProcess
import ExosShell
import GuestRuntime
import LibOS

/// `sh`: runs guests, joined by pipes, with files of a tree in shared memory, in the background or not.
func shell() {
  guard let library = Library.own() else {
    print("sh: there are no images here to make processes of (EXO_IMAGES)")
    exit(2)
  }
  let shell = Shell(library)
  if Arguments.count > 2, Arguments.all[1] == "-c" {
    shell.run(Arguments.all[2])
    exit(shell.status)
  }
  shell.converse()
}

final class Shell {
  let library: Library
  let files: SharedFiles?
  let terminal = Terminal()
  var jobs: [Job] = []
  var status: Int32 = 0
  /// Where its jobs' errors go that are not redirected: as its own.
  var errors: ProcessRecord.Stream? {
    guard case .file(let path, _)? = ProcessSelf.errors else { return ProcessSelf.errors }
    return .file(path: path, appends: true)
  }
  private var made = 0

  init(_ library: Library) {
    self.library = library
    files = SharedFiles.inheritedOrNew()
  }

  func converse() -> Never {
    while true {
      reportEnded()
      guard let line = terminal.readLine(prompt: "exo$ ") else {
        if terminal.isInteractive { print("exit") }
        exit(status)
      }
      run(line)
    }
  }

  /// Runs a line.
  func run(_ line: String) {
    do throws(ShellSyntaxError) {
      // Values are those of the time when a job begins. They bring no new jobs.
      var index = 0
      while true {
        let status = self.status
        let jobs = try ShellParser.parse(line) { name in name == "?" ? "\(status)" : Variables[name] }
        guard index < jobs.count else { return }
        let job = jobs[index]
        index += 1
        switch job.condition {
        case .always: break
        case .ifSucceeded: if self.status != 0 { continue }
        case .ifFailed: if self.status == 0 { continue }
        }
        start(job)
      }
    } catch {
      complain("\(error)")
      status = 2
    }
  }

  func complain(_ text: String) { Console.complain("sh: \(text)") }

  private func start(_ parsed: ShellJob) {
    if parsed.commands.count == 1, !parsed.isBackground,
      let builtin = Builtins.named(parsed.commands[0].words[0])
    {
      let command = parsed.commands[0]
      guard command.isRedirected else {
        status = builtin(self, command.words)
        Console.flush()
        return
      }
    }
    Console.flush()
    made += 1
    guard let job = Job.start(parsed, number: made, in: self) else {
      made -= 1
      return
    }
    if parsed.isBackground {
      jobs.append(job)
      print("[\(job.number)] \(job.text)")
      status = 0
    } else {
      wait(for: job)
    }
  }

  /// Waits until a job has ended or stopped, with the terminal its.
  func wait(for job: Job) {
    while !job.isOver {
      let mark = Wakeup.mark
      if job.poll() { break }
      switch terminal.serve(job) {
      case .interrupt: job.group.send(.interrupt)
      case .stop:
        job.group.send(.stop)
        job.isStopped = true
        if !jobs.contains(where: { $0 === job }) { jobs.append(job) }
        print("[\(job.number)] stopped  \(job.text)")
        status = 148
        return
      case .nothing: break
      }
      terminal.sleep(job, since: mark)
    }
    status = job.status
    job.release()
    jobs.removeAll { $0 === job }
    if terminal.isInteractive, status > 128 { print("(status \(status))") }
  }

  /// Tells of background jobs that have ended.
  func reportEnded() {
    for job in jobs where !job.isStopped {
      guard job.poll() else { continue }
      print("[\(job.number)] done(\(job.status))  \(job.text)")
      job.release()
    }
    jobs.removeAll { $0.isReleased }
  }
}

/// The frames of the file tree.
final class SharedFiles {
  static var address: UInt64 { 0x6e00_0000_0000 }
  static var pages: UInt64 { 265 }
  let tree: FileTree
  let parts: [(frames: Capability, address: UInt64, pages: UInt64, rights: Rights)]

  private init(
    _ tree: FileTree, _ parts: [(frames: Capability, address: UInt64, pages: UInt64, rights: Rights)]
  ) {
    self.tree = tree
    self.parts = parts
  }

  /// That of the shell which made this one, or a new one.
  static func inheritedOrNew() -> SharedFiles? {
    if let tree = ProcessSelf.files { return SharedFiles(tree, []) }
    var parts: [(frames: Capability, address: UInt64, pages: UInt64, rights: Rights)] = []
    var done: UInt64 = 0
    while done < pages {
      guard let grant = try? Exocall.frameAllocate(count: pages - done),
        (try? grant.owner.map(at: address + done << 12, pages: grant.count, [.read, .write])) != nil
      else { return nil }
      parts.append((grant.owner, address + done << 12, grant.count, [.read, .write]))
      done += grant.count
    }
    let tree = FileTree(at: UInt(address), size: Int(pages) << 12)
    tree.format()
    return SharedFiles(tree, parts)
  }
}
