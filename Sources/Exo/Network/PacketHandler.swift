import ExoABI

/// Code that an environment gives the exokernel to run when a packet of its arrives, without scheduling it: an application-safe
/// handler, as in Aegis (Wallach, Engler and Kaashoek, "ASHs: Application-Specific Handlers for High-Performance Messaging",
/// SIGCOMM 1996). It reads the packet, makes a reply, copying and summing in one pass, sends it, and says whether the packet is
/// to be delivered besides.
///
/// Instructions of 8 bytes over eight 64-bit registers, as in a `Rule`; jumps lead forward only, so each runs at most once,
/// and what copies cost is bounded by a budget. Whatever reads past the packet, or writes past the reply or the region, ends the
/// handler, and the packet is delivered as if there were none. Its verdict, its reply and its region are all it can do: a
/// reply is judged by the ring's templates like any packet, and the region is memory that its owner may write anyway
/// (`HandlerRegion`). What was stored there before it failed stays. `DownloadedInstruction` has the form of its code.
struct PacketHandler: Hashable, Sendable {
  static let instructionLimit = Int(EXO_HANDLER_LIMIT)
  static let registerCount = 8
  /// Most bytes that a run may copy and sum, over all: enough for two passes over the largest packet.
  static let byteBudget = 2 * PacketRing.size

  enum Operation: UInt8, CaseIterable, Sendable {
    /// destination = immediate
    case constant
    /// destination = the packet's length
    case length
    /// destination = 1, 2 or 4 bytes of the packet at register[a] + immediate, in network order
    case load8, load16, load32
    /// the reply's bytes at register[a] + immediate = register[b], in network order; it grows if need be
    case store8, store16, store32
    /// the reply's bytes from register[destination] on = register[b] bytes of the packet from register[a] + immediate on;
    /// adds them to the sum
    case copy
    /// destination = the ones' complement of the folded sum; the sum is 0 again
    case sum
    case add, subtract, and, or, xor, shiftLeft, shiftRight
    /// destination = 1 if so, else 0; unsigned
    case equal, less
    /// skip `immediate` instructions if register[a] is 0
    case skipIfZero
    /// sends the reply as it is now
    case send
    /// ends: the packet is delivered if register[a] is not 0, else it is done with
    case result
    /// destination = 4 or 8 bytes of the region at register[a] + immediate, a multiple of that; the lowest first
    case regionLoad32, regionLoad64
    /// the region's bytes at register[a] + immediate, a multiple of their number, = register[b]
    case regionStore32, regionStore64
    /// the region's bytes from register[destination] on = register[b] bytes of the packet from register[a] + immediate on;
    /// adds them to the sum
    case regionCopy

    /// Bytes of a number in the region; nil for what is none.
    var regionWidth: Int? {
      switch self {
      case .regionLoad32, .regionStore32: 4
      case .regionLoad64, .regionStore64: 8
      default: nil
      }
    }
  }

  struct Instruction: Hashable, Sendable {
    var operation: Operation
    var destination = 0
    var a = 0
    var b = 0
    var immediate: Int32 = 0
  }

  let instructions: [Instruction]

  /// Why a program is none, as `handler_bind` tells it.
  struct Fault: Error, Hashable, Sendable {
    enum Reason: UInt64, Sendable {
      case length = 1
      case operation, register, jump, noResult, sends
      /// It uses a region, and there is none; or past its end, whatever the register holds.
      case region, offset
    }
    let reason: Reason
    /// Of which instruction, from 0.
    var instruction = 0
  }

  /// Checks a program once. What this accepts ends, and touches nothing but the packet, its reply and a region.
  /// - Parameter regionSize: bytes of the region that it will be run with; 0 for none.
  init(_ bytes: [UInt8], regionSize: Int = 0) throws(Fault) {
    guard bytes.count % 8 == 0, bytes.count > 0, bytes.count <= Self.instructionLimit * 8 else {
      throw Fault(reason: .length)
    }
    let count = bytes.count / 8
    var decoded: [Instruction] = []
    var sends = 0
    for index in 0..<count {
      let raw = DownloadedInstruction(index, of: bytes)
      guard let operation = Operation(rawValue: raw.operation) else {
        throw Fault(reason: .operation, instruction: index)
      }
      let instruction = Instruction(
        operation: operation, destination: raw.destination, a: raw.a, b: raw.b, immediate: raw.immediate)
      guard max(instruction.destination, instruction.a, instruction.b) < Self.registerCount else {
        throw Fault(reason: .register, instruction: index)
      }
      switch operation {
      case .skipIfZero:
        guard raw.leadsForward(from: index, of: count) else { throw Fault(reason: .jump, instruction: index) }
      case .send:
        // One packet makes no more than that many.
        sends += 1
        guard sends <= Int(EXO_HANDLER_SENDS) else { throw Fault(reason: .sends, instruction: index) }
      case .regionLoad32, .regionLoad64, .regionStore32, .regionStore64, .regionCopy:
        guard regionSize > 0 else { throw Fault(reason: .region, instruction: index) }
        // No register is below 0.
        if let width = operation.regionWidth, Int(instruction.immediate) + width > regionSize {
          throw Fault(reason: .offset, instruction: index)
        }
      default: break
      }
      decoded.append(instruction)
    }
    guard decoded[count - 1].operation == .result else {
      throw Fault(reason: .noResult, instruction: count - 1)
    }
    instructions = decoded
  }

  /// What a run came to.
  struct Outcome: Hashable, Sendable {
    /// Whether the packet is to be delivered to the ring.
    var delivers = true
    /// Whether it went past an end or its budget: nothing it did counts.
    var hasFailed = false
  }

  /// Runs it on a packet.
  /// - Parameters:
  ///   - region: as large as it was checked for.
  ///   - send: gets each reply.
  func run(
    on packet: Span<UInt8>, region: HandlerRegion? = nil, send: (ArraySlice<UInt8>) -> Void
  ) -> Outcome {
    var registers: InlineArray<8, UInt64> = .init(repeating: 0)
    var reply: [UInt8] = []
    var replies: [[UInt8]] = []
    var sum: UInt64 = 0
    var budget = Self.byteBudget
    var next = 0
    let failed = Outcome(delivers: true, hasFailed: true)
    /// Where an access begins; nil if it is past what there may be.
    func place(_ register: UInt64, _ immediate: Int32, _ width: UInt64, _ limit: Int) -> Int? {
      let (start, overflow) = Int64(truncatingIfNeeded: min(register, 1 << 40)).addingReportingOverflow(
        Int64(immediate))
      guard !overflow, start >= 0, width <= UInt64(limit), start <= Int64(limit) - Int64(width) else {
        return nil
      }
      return Int(start)
    }
    while next < instructions.count {
      let instruction = instructions[next]
      next += 1
      let (a, b) = (registers[instruction.a], registers[instruction.b])
      var value = a
      switch instruction.operation {
      case .constant: value = UInt64(bitPattern: Int64(instruction.immediate))
      case .length: value = UInt64(packet.count)
      case .load8, .load16, .load32:
        let width = instruction.operation == .load8 ? 1 : instruction.operation == .load16 ? 2 : 4
        guard let at = place(a, instruction.immediate, UInt64(width), packet.count) else { return failed }
        value = 0
        for index in at..<at + width { value = value << 8 | UInt64(packet[index]) }
      case .store8, .store16, .store32:
        let width = instruction.operation == .store8 ? 1 : instruction.operation == .store16 ? 2 : 4
        guard let at = place(a, instruction.immediate, UInt64(width), PacketRing.size) else { return failed }
        while reply.count < at + width { reply.append(0) }
        for index in 0..<width {
          reply[at + index] = UInt8(truncatingIfNeeded: b >> UInt64((width - 1 - index) * 8))
        }
        continue
      case .copy:
        guard b <= UInt64(budget), let from = place(a, instruction.immediate, b, packet.count),
          let to = place(registers[instruction.destination], 0, b, PacketRing.size)
        else { return failed }
        let count = Int(b)
        budget -= count
        while reply.count < to + count { reply.append(0) }
        var isHigh = true
        for index in 0..<count {
          let byte = packet[from + index]
          reply[to + index] = byte
          sum &+= isHigh ? UInt64(byte) << 8 : UInt64(byte)
          isHigh.toggle()
        }
        continue
      case .regionLoad32, .regionLoad64:
        guard let region, let width = instruction.operation.regionWidth,
          let at = place(a, instruction.immediate, UInt64(width), region.size), at % width == 0
        else { return failed }
        value = region.load(at, width: width)
      case .regionStore32, .regionStore64:
        guard let region, let width = instruction.operation.regionWidth,
          let at = place(a, instruction.immediate, UInt64(width), region.size), at % width == 0
        else { return failed }
        region.store(b, at, width: width)
        continue
      case .regionCopy:
        guard let region, b <= UInt64(budget), let from = place(a, instruction.immediate, b, packet.count),
          let to = place(registers[instruction.destination], 0, b, region.size)
        else { return failed }
        budget -= Int(b)
        let bytes = (from..<from + Int(b)).map { packet[$0] }
        for (index, byte) in bytes.enumerated() { sum &+= index % 2 == 0 ? UInt64(byte) << 8 : UInt64(byte) }
        region.write(bytes, at: to)
        continue
      case .sum:
        while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
        value = UInt64(~UInt16(truncatingIfNeeded: sum))
        sum = 0
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
      case .send:
        replies.append(reply)
        continue
      case .result:
        for reply in replies { send(reply[...]) }
        return Outcome(delivers: a != 0)
      }
      registers[instruction.destination] = value
    }
    return failed
  }
}
