import Exo
import Synchronization

/// Runs an image that nobody trusts, with limits, gives it data and takes its answer: docs/embedding.md tells it
/// piece by piece.
@main struct Embedding {
  static func main() async throws {
    guard let path = CommandLine.arguments.dropFirst().first else { return print("usage: embedding IMAGE") }

    // [machine]
    var configuration = Machine.Configuration()
    configuration.memory = 64 << 20
    let machine = try Machine(configuration)
    defer { machine.stop() }
    // [end]

    // [image]
    let image: GuestImage
    do throws(ImageError) {
      image = try GuestImage(name: "untrusted", bytes: try contents(of: path))
    } catch {
      return print("not an image that can run: \(error)")
    }
    // [end]

    // [run]
    let answer = Mutex<[UInt8]>([])
    let console = Console(
      input: .bytes(Array("a question\n".utf8)),
      output: .handler { bytes in
        // Called by the machine's threads, in order. Whatever a guest writes, no more than this is kept of it.
        answer.withLock { kept in kept += bytes.prefix(65_536 - kept.count) }
      })
    let environment = try machine.launch(
      image, arguments: ["untrusted"], memory: 16 << 20,
      provisions: [("TABLE", [UInt8](repeating: 7, count: 10_000))], console: console,
      timeLimit: .seconds(5))
    // [end]

    // [outcome]
    switch await environment.outcome() {
    case .exited(let status): print("exited with \(status)")
    case .faulted(let report): print("faulted: \(report)")
    case .misused(let misuse): print("broke the rules: \(misuse)")
    case .timeLimit(let limit): print("took longer than \(limit)")
    case .killed: print("was ended from outside")
    case .hostFailure(let error): print("the machine failed: \(error)")
    }
    print(String(decoding: answer.withLock { $0 }, as: UTF8.self), terminator: "")
    // [end]
  }
}
