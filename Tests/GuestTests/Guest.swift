import Exo
import ExoABI
import ExoGuests
import Synchronization
import TestSupport
import Testing

/// All tests that run real guests: one at a time, for a machine wants a processor to itself.
@Suite(.serialized, .requires(.kvm)) struct GuestTests {}

/// What a guest wrote to its console.
final class Output: Sendable {
  private let collected = Mutex<[UInt8]>([])
  var bytes: [UInt8] { collected.withLock { $0 } }
  var text: String { String(decoding: bytes, as: UTF8.self) }
  func add(_ piece: [UInt8]) { collected.withLock { $0 += piece } }

  func console(input: Console.Input = .empty) -> Console {
    Console(input: input, output: .handler { [self] in add($0) })
  }
}

/// A segment of a handmade image.
struct HandmadeSegment {
  var address: UInt64
  /// ELF flags: 4 read, 2 write, 1 execute.
  var flags: UInt32
  var pages: Int
  var content: [UInt8] = []
}

/// A guest made of a few instructions.
struct Handmade {
  var code: Assembly
  var dataPages = 4
  var others: [HandmadeSegment] = []

  init(dataPages: Int = 4, others: [HandmadeSegment] = [], _ build: (inout Assembly) -> Void) {
    code = Assembly(build)
    self.dataPages = dataPages
    self.others = others
  }

  /// ELF: header, program headers and note in the first page; then each segment's content.
  var bytes: [UInt8] {
    typealias A = Assembly
    let codePages = (code.bytes.count + 4095) >> 12
    var segments = [
      HandmadeSegment(address: A.codeBase, flags: 5, pages: codePages, content: code.bytes),
      HandmadeSegment(address: A.dataBase, flags: 6, pages: dataPages),
    ]
    segments += others
    let note: [UInt8] =
      A.little(UInt32(4)) + A.little(UInt32(4)) + A.little(UInt32(EXO_NOTE_ABI)) + Array("Exo".utf8) + [0]
      + A.little(UInt32(EXO_ABI_VERSION))
    let headers = segments.count + 1
    var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
    file += A.little(UInt16(2)) + A.little(UInt16(62)) + A.little(UInt32(1)) + A.little(A.codeBase)
    file += A.little(UInt64(64)) + A.little(UInt64(0)) + A.little(UInt32(0)) + A.little(UInt16(64))
    file += A.little(UInt16(56)) + A.little(UInt16(headers)) + [UInt8](repeating: 0, count: 6)
    let noteOffset = UInt64(64 + 56 * headers)
    func header(
      _ type: UInt32, _ flags: UInt32, _ offset: UInt64, _ address: UInt64, _ file: Int, _ memory: Int
    )
      -> [UInt8]
    {
      A.little(type) + A.little(flags) + A.little(offset) + A.little(address) + A.little(address)
        + A.little(UInt64(file)) + A.little(UInt64(memory)) + A.little(UInt64(type == 1 ? 4096 : 4))
    }
    var offset: UInt64 = 4096
    var contents: [UInt8] = []
    for segment in segments {
      file += header(1, segment.flags, offset, segment.address, segment.content.count, segment.pages << 12)
      let padded = (segment.content.count + 4095) & ~4095
      contents += segment.content + [UInt8](repeating: 0, count: padded - segment.content.count)
      offset += UInt64(padded)
    }
    file += header(4, 4, noteOffset, 0, note.count, note.count) + note
    file += [UInt8](repeating: 0, count: 4096 - file.count)
    return file + contents
  }

  func image(_ name: String = "handmade") throws -> GuestImage { try GuestImage(name: name, bytes: bytes) }
}

extension GuestImage {
  /// A guest of the package.
  static func built(_ target: String) throws -> GuestImage {
    let bytes = try #require(ExoGuests.image(target), "\(target) is not staged")
    return try GuestImage(name: target, bytes: bytes)
  }
}

/// A machine with what tests ask of it. Every launch has a time limit.
struct TestMachine {
  let machine: Machine

  init(memory: UInt64 = 32 << 20, processors: Int = 1) throws {
    var configuration = Machine.Configuration()
    configuration.memory = memory
    configuration.processors = processors
    machine = try Machine(configuration)
  }

  func launch(
    _ image: GuestImage, arguments: [String] = ["test"], variables: [String] = [], memory: UInt64? = nil,
    console: Console = Console(), timeLimit: Duration = .seconds(30)
  ) throws -> Environment {
    try machine.launch(
      image, arguments: arguments, variables: variables, memory: memory, console: console,
      timeLimit: timeLimit)
  }

  /// Launches and waits for the end.
  func run(_ handmade: Handmade, timeLimit: Duration = .seconds(30)) async throws -> (Outcome, [UInt8]) {
    let output = Output()
    let environment = try launch(try handmade.image(), console: output.console(), timeLimit: timeLimit)
    let outcome = await environment.outcome()
    return (outcome, output.bytes)
  }

  func stop() { machine.stop() }
}

/// Runs a body with a machine that is stopped after it.
func withMachine<R>(
  memory: UInt64 = 32 << 20, processors: Int = 1, _ body: (TestMachine) async throws -> R
) async throws -> R {
  let machine = try TestMachine(memory: memory, processors: processors)
  defer { machine.stop() }
  return try await body(machine)
}
