import Exo
import Glibc
import Synchronization

/// A well-behaved environment beside one that attacks: it must finish its work, and rightly, whatever the other does.
struct Witness: ~Copyable {
  private let environment: Environment
  private let output: Output
  private let readEnd: CInt
  private let writeEnd: CInt

  private final class Output: Sendable {
    let text = Mutex<[UInt8]>([])
  }

  /// Starts it: it works until `finish`.
  init(in machine: Machine, _ image: GuestImage) throws {
    var ends: [CInt] = [-1, -1]
    // The array has room for the two descriptors that pipe stores.
    guard unsafe pipe(&ends) == 0 else { throw Failed(what: "no pipe: errno \(errno)") }
    let output = Output()
    let console = Console(
      input: .descriptor(ends[0]), output: .handler { bytes in output.text.withLock { $0 += bytes } })
    let environment: Environment
    do {
      environment = try machine.launch(
        image, arguments: [image.name, "witness"], memory: 4 << 20, console: console, timeLimit: .seconds(60))
    } catch {
      close(ends[0])
      close(ends[1])
      throw error
    }
    self.environment = environment
    self.output = output
    readEnd = ends[0]
    writeEnd = ends[1]
  }

  /// Ends its input and waits for its verdict. Returns what was wrong, nil if nothing.
  consuming func finish() -> String? {
    close(writeEnd)
    let outcome = environment.waitForOutcome()
    close(readEnd)
    if case .exited(0) = outcome { return nil }
    let text = output.text.withLock { String(decoding: $0, as: UTF8.self) }
    return "the witness ended with \(outcome.summary) \(text)"
  }

  private struct Failed: Error, CustomStringConvertible {
    let what: String
    var description: String { what }
  }
}
