/// A small program that an environment gives the exokernel to decide something for it: whether an access to a shared
/// region is allowed, or whether it is time to wake. The idea is Xok's downloaded code (Kaashoek et al., SOSP 1997); the form
/// is chosen so that checking it is one pass.
///
/// Eight 64-bit registers, at most 64 instructions of 8 bytes, jumps forward only: it ends within 64 steps. It reads
/// numbered inputs and 64-bit words of a window it is given, and returns a number; 0 is "no". A word outside the window
/// makes it return 0. It writes nothing. `DownloadedInstruction` has their form.
struct Rule: Hashable, Sendable {
  static let instructionLimit = 64
  static let registerCount = 8

  enum Operation: UInt8, CaseIterable, Sendable {
    /// destination = immediate
    case constant
    /// destination = input number `a`
    case input
    /// destination = little-endian word at byte register[a] + immediate of the window
    case word
    case add, subtract, and, or, xor, shiftLeft, shiftRight
    /// destination = 1 if so, else 0; unsigned
    case equal, less
    /// skip `immediate` instructions if register[a] is 0
    case skipIfZero
    /// result is register[a]
    case result
  }

  struct Instruction: Hashable, Sendable {
    var operation: Operation
    var destination = 0
    var a = 0
    var b = 0
    var immediate: Int32 = 0
  }

  let instructions: [Instruction]

  /// Checks a program once; what this accepts always ends and touches nothing it was not given.
  ///
  /// - Parameter inputs: how many inputs there will be.
  init(_ bytes: [UInt8], inputs: Int) throws(RuleError) {
    guard bytes.count % 8 == 0, bytes.count > 0, bytes.count <= Self.instructionLimit * 8 else {
      throw .length(bytes.count)
    }
    var decoded: [Instruction] = []
    let count = bytes.count / 8
    for index in 0..<count {
      let raw = DownloadedInstruction(index, of: bytes)
      guard let operation = Operation(rawValue: raw.operation) else {
        throw .operation(index: index, raw.operation)
      }
      let instruction = Instruction(
        operation: operation, destination: raw.destination, a: raw.a, b: raw.b, immediate: raw.immediate)
      let registers =
        operation == .input
        ? [instruction.destination, instruction.b]
        : [instruction.destination, instruction.a, instruction.b]
      guard registers.allSatisfy({ $0 < Self.registerCount }) else { throw .register(index: index) }
      switch operation {
      case .input: guard instruction.a < inputs else { throw .input(index: index, instruction.a) }
      case .skipIfZero:
        // Forward, and to an instruction that exists.
        guard raw.leadsForward(from: index, of: count) else {
          throw .jump(index: index, instruction.immediate)
        }
      default: break
      }
      decoded.append(instruction)
    }
    // Whatever path is taken, it cannot run past the end.
    guard decoded[count - 1].operation == .result else { throw .noResult }
    instructions = decoded
  }

  /// Runs it. `word` gives the little-endian word at a byte offset of the window, nil outside it.
  func evaluate(inputs: [UInt64], word: (Int) -> UInt64?) -> UInt64 {
    var registers = [UInt64](repeating: 0, count: Self.registerCount)
    var next = 0
    while next < instructions.count {
      let instruction = instructions[next]
      next += 1
      let (a, b) = (registers[min(instruction.a, Self.registerCount - 1)], registers[instruction.b])
      var value = a
      switch instruction.operation {
      case .constant: value = UInt64(bitPattern: Int64(instruction.immediate))
      case .input: value = inputs[instruction.a]
      case .word:
        let (offset, overflow) = Int64(bitPattern: a).addingReportingOverflow(Int64(instruction.immediate))
        guard !overflow, let found = word(Int(offset)) else { return 0 }
        value = found
      case .add: value = a &+ b
      case .subtract: value = a &- b
      case .and: value = a & b
      case .or: value = a | b
      case .xor: value = a ^ b
      case .shiftLeft: value = b < 64 ? a << b : 0
      case .shiftRight: value = b < 64 ? a >> b : 0
      case .equal: value = a == b ? 1 : 0
      case .less: value = a < b ? 1 : 0
      case .skipIfZero:
        if a == 0 { next += Int(instruction.immediate) }
        continue
      case .result: return a
      }
      registers[instruction.destination] = value
    }
    return 0
  }
}

/// Why a rule was not accepted; the index is that of the instruction, from 0.
enum RuleError: Error, Hashable, Sendable, CustomStringConvertible {
  case length(Int)
  case operation(index: Int, UInt8)
  case register(index: Int)
  case input(index: Int, Int)
  case jump(index: Int, Int32)
  case noResult

  var description: String {
    switch self {
    case .length(let bytes):
      "a rule has 1 to \(Rule.instructionLimit) instructions of 8 bytes, this has \(bytes) bytes"
    case .operation(let index, let code): "instruction \(index): no operation \(code)"
    case .register(let index): "instruction \(index): registers are 0 to \(Rule.registerCount - 1)"
    case .input(let index, let input): "instruction \(index): there is no input \(input)"
    case .jump(let index, let distance):
      "instruction \(index): a skip of \(distance) leads backwards or past the end"
    case .noResult: "the last instruction must give the result"
    }
  }
}
