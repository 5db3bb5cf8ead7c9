/// One instruction of code that an environment gives the exokernel to run, a `Rule` or a `PacketHandler`, taken apart but not judged.
///
///     byte  0          1            2  3   4..7
///           operation  destination  a  b   immediate, signed
struct DownloadedInstruction {
  static let size = 8

  let operation: UInt8
  let destination: Int
  let a: Int
  let b: Int
  let immediate: Int32

  /// - Precondition: there are so many.
  init(_ index: Int, of bytes: [UInt8]) {
    let at = index * Self.size
    operation = bytes[at]
    (destination, a, b) = (Int(bytes[at + 1]), Int(bytes[at + 2]), Int(bytes[at + 3]))
    immediate = Int32(
      bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + 4 + $1]) << UInt32($1 * 8) })
  }

  /// Whether it is a skip of instructions that leads forward, to one of `count`.
  func leadsForward(from index: Int, of count: Int) -> Bool {
    immediate > 0 && index + 1 + Int(immediate) < count
  }
}
