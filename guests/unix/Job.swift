import ExoABI
import ExosIPC
import ExosProcess
import ExosShell
import GuestRuntime
import LibOS

/// Processes joined by pipes: a process group.
final class Job {
  final class Member {
    var process: Process
    var end: EnvironmentEnd?
    init(_ process: consuming Process) { self.process = process }
    func poll() { if end == nil { end = process.poll() } }
  }

  let number: Int
  let text: String
  private(set) var members: [Member] = []
  private var pipes: [PipeFrames] = []
  /// From the terminal to the first process.
  var keyboard: PipeWriter?
  var isStopped = false
  private(set) var isReleased = false

  private init(number: Int, text: String) {
    self.number = number
    self.text = text
  }

  var group: ProcessGroup { ProcessGroup(members.filter { $0.end == nil }.map { $0.process.environment }) }
  var isOver: Bool { members.allSatisfy { $0.end != nil } }
  /// Looks which have ended; whether all have.
  func poll() -> Bool {
    for member in members { member.poll() }
    return isOver
  }
  /// Of the last process, as a shell tells it.
  var status: Int32 {
    switch members.last?.end {
    case .exited(let status)?, .killed(let status)?: Int32(status)
    case .faulted(let vector, _)?: vector == 0 || vector == 16 || vector == 19 ? 136 : vector == 6 ? 132 : 139
    case nil: 0
    default: 122
    }
  }

  /// Gives back what it was made of; what lives is killed.
  func release() {
    guard !isReleased else { return }
    isReleased = true
    for member in members { member.process.release() }
    for index in pipes.indices { pipes[index].release() }
    if keyboard != nil { try? Exocall.unmap(Self.keyboardAddress, pages: Self.pipePages) }
    keyboard = nil
  }

  // --- starting

  private static var inputAddress: UInt64 { 0x6a00_0000_0000 }
  private static var outputAddress: UInt64 { 0x6b00_0000_0000 }
  /// Where the shell itself has the pipe to the foreground.
  private static var keyboardAddress: UInt64 { 0x6c00_0000_0000 }
  private static var capacity: Int { 16384 }
  private static var pipePages: UInt64 { UInt64(capacity) >> 12 + 1 }

  static func start(_ parsed: ShellJob, number: Int, in shell: Shell) -> Job? {
    let words = parsed.commands.map { $0.words.map { word in word }.joinedBySpaces }
    let job = Job(number: number, text: words.joined(" | "))
    if let problem = job.launch(parsed, shell) {
      shell.complain(problem)
      shell.status = problem.hasSuffix("no such guest") ? 127 : 126
      job.release()
      return nil
    }
    return job
  }

  /// What went wrong; nil if nothing.
  private func launch(_ parsed: ShellJob, _ shell: Shell) -> String? {
    var images: [ImageLibrary.Image] = []
    var records: [ProcessRecord] = []
    for command in parsed.commands {
      // What the shell does itself is done by a shell of its own where it is part of a pipe.
      let isBuiltin = Builtins.named(command.words[0]) != nil
      guard let image = shell.library.images.image(named: isBuiltin ? "sh" : command.words[0]) else {
        return "\(command.words[0]): no such guest"
      }
      images.append(image)
      var record = ProcessRecord(
        arguments: isBuiltin ? ["sh", "-c", command.words.map { $0.quoted }.joinedBySpaces] : command.words)
      record.variables = Variables.all.filter { !$0.hasPrefix("EXO_") }
      record.takesSignals = true
      if shell.files != nil { record.files = (SharedFiles.address, SharedFiles.pages << 12) }
      if let path = command.input { record.input = .file(path: path, appends: false) }
      if let path = command.output { record.output = .file(path: path, appends: command.appends) }
      if let path = command.errors {
        record.errors = .file(path: path, appends: command.appendsErrors)
      } else if !command.errorsToOutput {
        record.errors = shell.errors
      }
      if let problem = check(command, shell) { return problem }
      records.append(record)
    }
    do throws(ExocallError) {
      for _ in 1..<max(parsed.commands.count, 1) {
        let pipe = try PipeFrames(capacity: Self.capacity)
        pipes.append(pipe)
        _ = try pipe.map(at: Self.keyboardAddress)
        try Exocall.unmap(Self.keyboardAddress, pages: pipe.pages)
      }
      let wantsKeyboard =
        !parsed.isBackground && parsed.commands[0].input == nil && !shell.terminal.isExhausted
      if wantsKeyboard {
        let pipe = try PipeFrames(capacity: Self.capacity)
        pipes.append(pipe)
        _ = try pipe.map(at: Self.keyboardAddress)
      }
      for index in images.indices {
        var options = Process.Options()
        options.memory = shell.files?.parts ?? []
        if records[index].arguments[0] == "sh" {
          options.quota = EnvironmentQuota(frames: 4096, capabilities: 1024, bindings: 64, environments: 8)
        }
        let process: Process
        do throws(ProcessError) {
          process = try Process.prepare(images[index], from: shell.library, options)
        } catch { return "\(parsed.commands[index].words[0]): \(error.text)" }
        members.append(Member(process))
        let environment = members[index].process.environment
        if records[index].arguments[0] == "sh", let frames = try? shell.library.frames.inspect() {
          let handle = try shell.library.frames.grant(to: environment, [.read, .execute, .grant]).handle
          records[index].variables.append("EXO_IMAGES=\(handle):\(frames.count)")
        }
        if index == 0, wantsKeyboard, let pipe = pipes.last {
          try pipe.map(in: environment, at: Self.inputAddress)
          records[0].input = .pipe(
            address: Self.inputAddress, capacity: UInt64(Self.capacity), peer: ProcessRecord.wakingPeer)
          keyboard = PipeWriter(
            PipeFrames.memory(at: Self.keyboardAddress, capacity: Self.capacity),
            to: try PipePeer(environment, isLocal: false))
        }
      }
      for index in 1..<max(members.count, 1) {
        let (left, right) = (members[index - 1].process.environment, members[index].process.environment)
        try pipes[index - 1].map(in: left, at: Self.outputAddress)
        try pipes[index - 1].map(in: right, at: Self.inputAddress)
        let toRight = try right.capability.grant(to: left, [.deliver, .inspect]).handle
        let toLeft = try left.capability.grant(to: right, [.deliver, .inspect]).handle
        let capacity = UInt64(Self.capacity)
        if parsed.commands[index - 1].output == nil {
          records[index - 1].output = .pipe(address: Self.outputAddress, capacity: capacity, peer: toRight)
        }
        if parsed.commands[index].input == nil {
          records[index].input = .pipe(address: Self.inputAddress, capacity: capacity, peer: toLeft)
        }
      }
      for index in members.indices {
        do throws(ProcessError) { try members[index].process.start(images[index], records[index]) } catch {
          return "\(parsed.commands[index].words[0]): \(error.text)"
        }
      }
      return nil
    } catch { return "\(error)" }
  }

  /// Whether its files can be opened; makes that of the output.
  private func check(_ command: ShellCommand, _ shell: Shell) -> String? {
    guard command.input != nil || command.output != nil || command.errors != nil else { return nil }
    guard let tree = shell.files?.tree else { return "there are no files here" }
    do throws(FileError) {
      if let path = command.input, try tree.isDirectory(try tree.find(path)) { throw .isDirectory }
    } catch { return "\(command.input ?? ""): \(error)" }
    for (path, appends) in [(command.output, command.appends), (command.errors, command.appendsErrors)] {
      guard let path else { continue }
      do throws(FileError) {
        let node = try tree.create(path, .file)
        if !appends { try tree.truncate(node) }
      } catch { return "\(path): \(error)" }
    }
    return nil
  }
}

extension ProcessError {
  var text: String {
    switch self {
    case .noSuchImage: "no such guest"
    case .badArguments: "bad arguments"
    case .exocall(let error): "\(error)"
    }
  }
}

extension [String] {
  var joinedBySpaces: String { joined(" ") }
  func joined(_ separator: String) -> String {
    var text = ""
    for index in indices { text += index == 0 ? self[index] : separator + self[index] }
    return text
  }
}

extension String {
  /// So that the shell takes it as one word.
  var quoted: String {
    var text = "'"
    for byte in utf8 { text += byte == 0x27 ? "'\\''" : String(decoding: [byte], as: UTF8.self) }
    return text + "'"
  }
}
