/// The registers that addresses are made of, as they stood when an instruction faulted.
public struct MachineRegisters {
  /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15: by the number that instructions use.
  public var general: InlineArray<16, UInt64>
  /// Of the instruction.
  public var rip: UInt64
  public var fsBase: UInt64
  public var gsBase: UInt64
  /// The low 128 bits of the vector registers 0 to 15, two words each; nil where they are not known.
  public var vectors: UnsafePointer<UInt64>?

  public init(
    general: InlineArray<16, UInt64>, rip: UInt64, fsBase: UInt64 = 0, gsBase: UInt64 = 0,
    vectors: UnsafePointer<UInt64>? = nil
  ) {
    self.general = general
    self.rip = rip
    self.fsBase = fsBase
    self.gsBase = gsBase
    self.vectors = vectors
  }

  static var rax: Int { 0 }
  static var rbx: Int { 3 }
  static var rsp: Int { 4 }
  static var rbp: Int { 5 }
  static var rsi: Int { 6 }
  static var rdi: Int { 7 }
}

/// The bytes of an instruction, read one at a time: past its end nothing may be mapped.
struct InstructionBytes {
  /// An instruction is no longer (Intel SDM volume 2, 2.3.11).
  static var limit: Int { 15 }

  private let bytes: UnsafeRawPointer
  private let count: Int
  private(set) var length = 0

  init(_ bytes: UnsafeRawPointer, count: Int) {
    self.bytes = bytes
    self.count = min(count, Self.limit)
  }

  /// The next byte; nil past the end of what may be read.
  @inline(__always)
  mutating func next() -> UInt8? {
    guard length < count else { return nil }
    defer { length += 1 }
    return bytes.load(fromByteOffset: length, as: UInt8.self)
  }
  @inline(__always)
  func peek() -> UInt8? { length < count ? bytes.load(fromByteOffset: length, as: UInt8.self) : nil }

  /// A little-endian integer of so many bytes, sign-extended.
  mutating func signed(_ size: Int) -> UInt64? {
    var value: UInt64 = 0
    for index in 0..<size {
      guard let byte = next() else { return nil }
      value |= UInt64(byte) << UInt64(8 * index)
    }
    let unused = UInt64(64 - 8 * size)
    return unused < 64 ? UInt64(bitPattern: Int64(bitPattern: value << unused) >> Int64(unused)) : 0
  }

  /// Passes over bytes; false past the end.
  mutating func skip(_ size: Int) -> Bool {
    guard count - length >= size else { return false }
    length += size
    return true
  }
}
