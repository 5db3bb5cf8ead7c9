import ExoABI

/// A handler that the exokernel runs when a packet arrives, without scheduling this environment (exo_abi.h has its form). It reads
/// the packet, makes a reply, sends it, reads and writes a region of this environment's memory, and says whether the packet is to be
/// delivered besides.
public struct HandlerProgram: Equatable, Sendable {
  public enum Register: UInt8, Sendable { case r0, r1, r2, r3, r4, r5, r6, r7 }

  /// Eight bytes an instruction.
  public private(set) var bytes: [UInt8] = []
  public init() {}

  public mutating func set(_ register: Register, to value: Int32) {
    emit(EXO_HANDLER_CONSTANT, register, immediate: value)
  }
  /// The packet's length.
  public mutating func length(into register: Register) { emit(EXO_HANDLER_LENGTH, register) }
  /// 1, 2 or 4 bytes of the packet, in network order. Past its end the handler fails, and the packet is delivered.
  public mutating func load(_ width: Int, at base: Register, plus offset: Int32, into register: Register) {
    emit(
      width == 1 ? EXO_HANDLER_LOAD8 : width == 2 ? EXO_HANDLER_LOAD16 : EXO_HANDLER_LOAD32, register, base,
      immediate: offset)
  }
  /// Stores 1, 2 or 4 bytes into the reply.
  public mutating func store(_ width: Int, _ value: Register, at base: Register, plus offset: Int32) {
    emit(
      width == 1 ? EXO_HANDLER_STORE8 : width == 2 ? EXO_HANDLER_STORE16 : EXO_HANDLER_STORE32, .r0, base,
      value,
      immediate: offset)
  }
  /// Copies bytes of the packet into the reply and adds them to the sum, in one pass.
  public mutating func copy(
    _ count: Register, from base: Register, plus offset: Int32 = 0, to place: Register
  ) {
    emit(EXO_HANDLER_COPY, place, base, count, immediate: offset)
  }
  /// The checksum of what was copied since the last time.
  public mutating func sum(into register: Register) { emit(EXO_HANDLER_SUM, register) }

  // --- the region that it is bound with

  /// 4 or 8 bytes of the region, as this environment stores numbers. At a multiple of their number, or the handler fails.
  public mutating func loadRegion(
    _ width: Int, at base: Register, plus offset: Int32, into register: Register
  ) {
    emit(
      width == 4 ? EXO_HANDLER_REGION_LOAD32 : EXO_HANDLER_REGION_LOAD64, register, base, immediate: offset)
  }
  /// Stores 4 or 8 bytes into the region, at once, after all that it stored and copied there before.
  public mutating func storeRegion(_ width: Int, _ value: Register, at base: Register, plus offset: Int32) {
    emit(
      width == 4 ? EXO_HANDLER_REGION_STORE32 : EXO_HANDLER_REGION_STORE64, .r0, base, value,
      immediate: offset)
  }
  /// Copies bytes of the packet into the region and adds them to the sum, in one pass.
  public mutating func copyToRegion(
    _ count: Register, from base: Register, plus offset: Int32 = 0, to place: Register
  ) {
    emit(EXO_HANDLER_REGION_COPY, place, base, count, immediate: offset)
  }

  // --- arithmetic

  public mutating func add(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_HANDLER_ADD, result, a, b)
  }
  public mutating func subtract(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_HANDLER_SUBTRACT, result, a, b)
  }
  /// By more than 63 bits it is 0.
  public mutating func shiftLeft(_ a: Register, by b: Register, into result: Register) {
    emit(EXO_HANDLER_SHIFT_LEFT, result, a, b)
  }
  public mutating func shiftRight(_ a: Register, by b: Register, into result: Register) {
    emit(EXO_HANDLER_SHIFT_RIGHT, result, a, b)
  }
  /// 1 if so, else 0.
  public mutating func equal(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_HANDLER_EQUAL, result, a, b)
  }
  /// 1 if so, else 0; without signs.
  public mutating func less(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_HANDLER_LESS, result, a, b)
  }
  public mutating func and(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_HANDLER_AND, result, a, b)
  }
  public mutating func or(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_HANDLER_OR, result, a, b)
  }
  public mutating func xor(_ a: Register, _ b: Register, into result: Register) {
    emit(EXO_HANDLER_XOR, result, a, b)
  }
  /// Sends the reply as it is now. At most `EXO_HANDLER_SENDS` in a program.
  public mutating func send() { emit(EXO_HANDLER_SEND, .r0) }
  /// Ends: the packet is delivered if the register is not 0.
  public mutating func deliver(if register: Register) { emit(EXO_HANDLER_RESULT, .r0, register) }

  /// Adds instructions that are passed over if a register is 0. Something has to follow them.
  public mutating func when(_ register: Register, _ body: (inout HandlerProgram) -> Void) {
    var inner = HandlerProgram()
    body(&inner)
    emit(EXO_HANDLER_SKIP_IF_ZERO, .r0, register, immediate: Int32(inner.bytes.count / 8))
    bytes += inner.bytes
  }

  private mutating func emit(
    _ operation: Int32, _ destination: Register, _ a: Register = .r0, _ b: Register = .r0,
    immediate: Int32 = 0
  ) {
    bytes += [UInt8(truncatingIfNeeded: operation), destination.rawValue, a.rawValue, b.rawValue]
    let value = UInt32(bitPattern: immediate)
    for shift: UInt32 in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  /// Sends UDP datagrams over IPv4 to this address back where they came from, for a claim of one port. What is in fragments, or has IP
  /// options, is delivered. Who asked is who is answered, so no checksum changes.
  public static func udpEcho(_ own: IPv4Address) -> HandlerProgram {
    var program = HandlerProgram()
    program.set(.r0, to: 0)
    program.set(.r7, to: 1)
    // What must be 0 of an ordinary packet.
    program.load(1, at: .r0, plus: 14, into: .r2)
    program.set(.r3, to: 0x45)
    program.xor(.r2, .r3, into: .r5)
    program.load(2, at: .r0, plus: 20, into: .r2)
    program.set(.r3, to: 0x3fff)
    program.and(.r2, .r3, into: .r2)
    program.or(.r5, .r2, into: .r5)
    program.load(2, at: .r0, plus: 30, into: .r2)
    program.set(.r3, to: Int32(own.bits >> 16))
    program.xor(.r2, .r3, into: .r2)
    program.or(.r5, .r2, into: .r5)
    program.load(2, at: .r0, plus: 32, into: .r2)
    program.set(.r3, to: Int32(own.bits & 0xffff))
    program.xor(.r2, .r3, into: .r2)
    program.or(.r5, .r2, into: .r5)
    program.when(.r5) { $0.deliver(if: .r7) }
    program.length(into: .r1)
    program.copy(.r1, from: .r0, to: .r0)
    // Stations, addresses and ports change places.
    for (width, one, other) in [
      (4, 0, 6), (2, 4, 10), (4, 26, 30), (2, 34, 36),
    ] as [(Int, Int32, Int32)] {
      program.load(width, at: .r0, plus: one, into: .r2)
      program.load(width, at: .r0, plus: other, into: .r3)
      program.store(width, .r3, at: .r0, plus: one)
      program.store(width, .r2, at: .r0, plus: other)
    }
    program.send()
    program.deliver(if: .r0)
    return program
  }
}
