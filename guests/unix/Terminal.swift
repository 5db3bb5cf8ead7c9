import ExoABI
import ExosIPC
import ExosProcess
import ExosShell
import GuestRuntime
import LibOS

/// The shell's input: a terminal, whose lines it edits itself, or anything else, which is read as it is. One read of the console
/// is outstanding at any time; what comes while a job runs in the foreground is for the job.
final class Terminal {
  enum Wish { case nothing, interrupt, stop }

  let isInteractive = Variables["EXO_TERMINAL"] != nil
  private(set) var isClosed = false
  private var editor = LineEditor(prompt: "")
  /// For the job's own input.
  private var cooked = LineEditor(prompt: "", keepsHistory: false)
  private var cookedBegun = false
  private var pending: [UInt8] = []
  /// Lines for the job that it has not asked for yet.
  private var forJob: [UInt8] = []
  private var endsJobInput = false
  private var ticket: RingTicket?
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024, alignment: 16)

  var history: [String] { editor.history }

  /// Nothing more will come.
  var isExhausted: Bool { isClosed && pending.isEmpty && forJob.isEmpty }

  /// A line; nil at the end of the input.
  func readLine(prompt: String) -> String? {
    // What the last job left over was typed for the shell.
    pending = forJob + pending
    forJob = []
    if isInteractive {
      editor.prompt = prompt
      show(editor.begin())
    }
    var line: [UInt8] = []
    while true {
      while !pending.isEmpty {
        let byte = pending.removeFirst()
        if !isInteractive {
          if byte == 0x0a { return String(decoding: line, as: UTF8.self) }
          line.append(byte)
          continue
        }
        var out: [UInt8] = []
        let outcome = editor.type(byte, &out)
        show(out)
        switch outcome {
        case .line(let text): return text
        case .interrupted: show(editor.begin())
        case .end: return nil
        case .editing, .stopped: break
        }
      }
      if isClosed { return line.isEmpty ? nil : String(decoding: line, as: UTF8.self) }
      guard !poll() else { continue }
      if ticket != nil {
        Wakeup.sleep()
      } else {
        // Watches for what runs in the background have all the places of calls that are not waited for at once.
        take((try? Exocall.consoleRead(buffer)) ?? 0)
      }
    }
  }

  /// Gives a foreground job what was typed, once it waits for it.
  func serve(_ job: Job) -> Wish {
    // What has come, then the next read.
    if poll() { _ = poll() }
    if isInteractive {
      if !cookedBegun {
        _ = cooked.begin()
        cookedBegun = true
      }
      while !pending.isEmpty {
        let byte = pending.removeFirst()
        var out: [UInt8] = []
        let outcome = cooked.type(byte, &out)
        show(out)
        switch outcome {
        case .line(let text):
          forJob += Array(text.utf8) + [0x0a]
          _ = cooked.begin()
        case .interrupted:
          _ = cooked.begin()
          return .interrupt
        case .stopped: return .stop
        case .end: endsJobInput = true
        case .editing: break
        }
      }
    } else {
      forJob += pending
      pending = []
      if isClosed { endsJobInput = true }
    }
    guard job.keyboard != nil, job.keyboard?.producer.readerSleeps ?? false else { return .nothing }
    if !forJob.isEmpty {
      let count = forJob.withUnsafeBytes { bytes in (try? job.keyboard?.write(bytes, until: 0)) ?? bytes.count
      }
      forJob.removeFirst(count)
    } else if endsJobInput {
      job.keyboard?.close()
      endsJobInput = false
    }
    return .nothing
  }

  /// Until something comes, a process ends, or it is time to look whether the job wants to read.
  func sleep(_ job: Job, since mark: UInt32) {
    let waits = !forJob.isEmpty || endsJobInput
    if waits {
      Wakeup.sleep(until: Clock.now + 2_000_000)
    } else if pending.isEmpty {
      Wakeup.sleep(since: mark)
    }
  }

  private func show(_ bytes: [UInt8]) {
    guard !bytes.isEmpty else { return }
    bytes.withUnsafeBytes { bytes in try? Console.write(bytes) }
  }

  /// What a read of the console gave; 0 bytes are its end.
  private func take(_ count: Int) {
    if count == 0 { isClosed = true } else { pending += buffer[..<count] }
  }

  /// Looks whether input has come, and asks for more.
  private func poll() -> Bool {
    if isClosed { return false }
    if let ticket {
      guard let answer = machineRing.poll(ticket) else { return false }
      self.ticket = nil
      take(max(0, Int(answer.result)))
      return true
    }
    ticket = machineRing.submit(
      RingRequest(
        EXO_CALL_console_read.rawValue, UInt64(UInt(bitPattern: buffer.baseAddress)), UInt64(buffer.count)))
    machineRing.notify()
    return false
  }
}
