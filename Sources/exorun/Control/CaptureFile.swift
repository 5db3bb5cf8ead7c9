import JSONText

/// Packets of a machine as a pcapng file (draft-ietf-opsawg-pcapng): one Ethernet interface, the machine's switch, with a comment on
/// each packet that says who sent it, who got it and what became of it.
struct CaptureFile: TraceWriter {
  private let machine: String
  /// Nanoseconds since 1970 at which the machine was made.
  private var born: UInt64 = 0
  private var names: [UInt64: String] = [:]
  private var lost: UInt64 = 0

  init(machine: String) { self.machine = machine }

  private enum Block {
    static let section: UInt32 = 0x0a0d_0d0a, interface: UInt32 = 1, statistics: UInt32 = 5,
      packet: UInt32 = 6
  }
  private enum Option {
    static let end: UInt16 = 0, comment: UInt16 = 1, name: UInt16 = 2, application: UInt16 = 4
    static let dropped: UInt16 = 5, resolution: UInt16 = 9
  }
  private static let ethernet: UInt16 = 1

  mutating func begin(_ header: JSON) -> [UInt8] {
    born = header.count("born") * 1000
    for environment in header["environments"]?.array ?? [] {
      let environment = ObservedEnvironment(environment)
      names[environment.number] = environment.name
    }
    var section = Bytes()
    section.add(0x1a2b_3c4d as UInt32)
    section.add(1 as UInt16)
    section.add(0 as UInt16)
    section.add(UInt64.max)  // whatever follows
    section.add(Option.application, Array("exorun \(Exorun.version)".utf8))
    section.endOptions()
    var interface = Bytes()
    interface.add(Self.ethernet)
    interface.add(0 as UInt16)
    interface.add(65_535 as UInt32)
    interface.add(Option.name, Array("exo \(machine)".utf8))
    interface.add(Option.resolution, [9])  // nanoseconds
    interface.endOptions()
    return section.block(Block.section) + interface.block(Block.interface)
  }

  mutating func add(_ line: ArraySlice<UInt8>) throws(Failure) -> [UInt8] {
    let record = try ControlConnection.parse(line, from: machine)
    lost += record.count("lost")
    guard let text = record["bytes"]?.string else { return [] }
    let packet = Self.bytes(of: text)
    let time = born + record.count("t")
    var block = Bytes()
    block.add(0 as UInt32)
    block.add(UInt32(truncatingIfNeeded: time >> 32))
    block.add(UInt32(truncatingIfNeeded: time))
    block.add(UInt32(packet.count))
    block.add(UInt32(clamping: record.count("length")))
    block.addPadded(packet)
    let (from, to) = (party(record["from"]), party(record["to"]))
    block.add(
      Option.comment, Array("from \(from) to \(to): \(record["fate"]?.string ?? "?")".utf8))
    block.endOptions()
    return block.block(Block.packet)
  }

  mutating func end() -> [UInt8] {
    guard lost > 0 else { return [] }
    var block = Bytes()
    block.add(0 as UInt32)
    block.add(0 as UInt64)
    var count = Bytes()
    count.add(lost)
    block.add(Option.dropped, count.bytes)
    block.endOptions()
    return block.block(Block.statistics)
  }

  private func party(_ number: JSON?) -> String {
    guard let number = number?.count else { return "outside" }
    return names[number].map { "\($0) (\(number))" } ?? "environment \(number)"
  }

  private static func bytes(of text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var high: UInt8?
    for digit in text.utf8 {
      let value = digit <= 0x39 ? digit &- 0x30 : digit &- 0x57
      if let upper = high {
        bytes.append(upper << 4 | value & 15)
        high = nil
      } else {
        high = value & 15
      }
    }
    return bytes
  }
}

/// What blocks are made of: words in the host's order, text on multiples of four bytes.
private struct Bytes {
  var bytes: [UInt8] = []

  mutating func add(_ word: some FixedWidthInteger) {
    var rest = UInt64(truncatingIfNeeded: word)
    for _ in 0..<word.bitWidth / 8 {
      bytes.append(UInt8(truncatingIfNeeded: rest))
      rest >>= 8
    }
  }
  mutating func addPadded(_ content: [UInt8]) {
    bytes += content
    while bytes.count % 4 != 0 { bytes.append(0) }
  }
  mutating func add(_ option: UInt16, _ value: [UInt8]) {
    add(option)
    add(UInt16(clamping: value.count))
    addPadded(Array(value.prefix(Int(UInt16.max))))
  }
  mutating func endOptions() { add(0 as UInt32) }

  /// The whole block: its kind and length, what it holds, its length again.
  func block(_ kind: UInt32) -> [UInt8] {
    var block = Bytes()
    block.add(kind)
    block.add(UInt32(bytes.count + 12))
    block.bytes += bytes
    block.add(UInt32(bytes.count + 12))
    return block.bytes
  }
}
