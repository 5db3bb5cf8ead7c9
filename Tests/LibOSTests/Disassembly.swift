import Foundation
import TestSupport

@testable import ExosMemoryHost

/// What objdump makes of instructions, as an independent reading of the same bytes.
struct Disassembly {
  struct Line {
    let length: Int
    let mnemonic: Substring
    let operands: Substring
    /// Where the instruction lies in the file, which RIP-relative operands start from.
    let address: UInt64
  }
  /// Bytes from the start of one instruction to that of the next, and with what they are filled up: NOPs bring a
  /// disassembler that lost its way back to the beginning of instructions.
  static let slot = 32

  /// One for each instruction, nil where the tool sees none.
  static func of(_ instructions: [[UInt8]]) throws -> [Line?] {
    var bytes = [UInt8](repeating: 0x90, count: instructions.count * slot)
    for (index, instruction) in instructions.enumerated() {
      for (place, byte) in instruction.prefix(15).enumerated() { bytes[index * slot + place] = byte }
    }
    let file = FileManager.default.temporaryDirectory.appending(path: "exo-\(UUID().uuidString).bin")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(bytes).write(to: file)
    let script = """
      objdump -D -b binary -m i386:x86-64 -M intel --insn-width=16 "$0" \
        | grep -E '^ *[0-9a-f]*[02468ace]?0:'
      """
    var command = Command("/bin/sh", ["-c", script, file.path])
    command.limit = .seconds(300)
    var lines = [Line?](repeating: nil, count: instructions.count)
    for text in try command.run().output.split(separator: "\n") {
      guard let line = Line(text), line.address % UInt64(slot) == 0 else { continue }
      lines[Int(line.address) / slot] = line
    }
    return lines
  }
}

extension Disassembly.Line {
  /// `   20:	48 8b 04 25 10 00 00 00 	mov    rax,QWORD PTR ds:0x10`
  init?(_ text: Substring) {
    let columns = text.split(separator: "\t", maxSplits: 2)
    guard columns.count == 3, let address = UInt64(columns[0].drop { $0 == " " }.dropLast(), radix: 16) else {
      return nil
    }
    self.address = address
    length = columns[1].utf8.count { $0 == 0x20 } - columns[1].reversed().prefix { $0 == " " }.count + 1
    var rest = columns[2].prefix { $0 != "#" }
    while let last = rest.last, last == " " { rest.removeLast() }
    var word = rest.prefix { $0 != " " }
    rest = rest.dropFirst(word.count).drop { $0 == " " }
    while Self.prefixes.contains(word), !rest.isEmpty {
      word = rest.prefix { $0 != " " }
      rest = rest.dropFirst(word.count).drop { $0 == " " }
    }
    mnemonic = word
    operands = rest
  }

  private static let prefixes: Set<Substring> = [
    "lock", "rep", "repz", "repnz", "data16", "addr32", "cs", "ds", "es", "ss", "fs", "gs", "notrack", "bnd",
    "xacquire", "xrelease", "rex", "rex.W", "rex.R", "rex.X", "rex.B", "rex.WR", "rex.WX", "rex.WB", "rex.RX",
    "rex.RB", "rex.XB", "rex.WRX", "rex.WRB", "rex.WXB", "rex.RXB", "rex.WRXB", "{vex}", "{evex}", "{vex3}",
  ]

  /// Whether it is an instruction, and not what is left of one.
  var isValid: Bool {
    !mnemonic.contains("bad") && !operands.contains("(bad)") && !operands.contains("{bad}")
      && !mnemonic.hasPrefix(".") && !Self.prefixes.contains(mnemonic)
  }

  /// The operands that are memory, in order: address and size, 0 where none is said.
  func memory(_ registers: MachineRegisters) -> [(address: UInt64, size: Int)] {
    var found: [(UInt64, Int)] = []
    for operand in operands.split(separator: ",") {
      guard let open = operand.firstIndex(where: { $0 == "[" || $0 == ":" }) else { continue }
      var before = operand[..<open]
      var segment: UInt64 = 0
      var inside = operand[operand.index(after: open)...]
      if operand[open] == ":" {
        segment = base(ofSegment: before.suffix(2), registers)
        before = before.dropLast(2)
        if inside.first == "[" { inside.removeFirst() }
      } else if before.hasSuffix(":") {
        before = before.dropLast(3)
      }
      inside = inside.prefix { $0 != "]" && $0 != "{" && $0 != " " }
      found.append((sum(inside, registers) &+ segment, size(before)))
    }
    return found
  }

  private func base(ofSegment name: Substring, _ registers: MachineRegisters) -> UInt64 {
    name == "fs" ? registers.fsBase : name == "gs" ? registers.gsBase : 0
  }

  private func size(_ words: Substring) -> Int {
    for word in words.split(separator: " ") {
      switch word {
      case "BYTE": return 1
      case "WORD": return 2
      case "DWORD": return 4
      case "QWORD": return 8
      case "TBYTE": return 10
      case "XMMWORD", "OWORD": return 16
      case "YMMWORD": return 32
      case "ZMMWORD": return 64
      default: continue
      }
    }
    return 0
  }

  /// `rax+rbx*4-0x8`, in 32 bits if the registers have as many.
  private func sum(_ text: Substring, _ registers: MachineRegisters) -> UInt64 {
    var total: UInt64 = 0
    var isShort = false
    var rest = text
    while !rest.isEmpty {
      let isNegative = rest.first == "-"
      if isNegative || rest.first == "+" { rest.removeFirst() }
      let term = rest.prefix { $0 != "+" && $0 != "-" }
      rest = rest.dropFirst(term.count)
      var value: UInt64 = 0
      if term.hasPrefix("0x") {
        value = UInt64(term.dropFirst(2), radix: 16) ?? 0
      } else {
        let factors = term.split(separator: "*")
        let (register, bits) = self.value(of: factors[0], registers)
        isShort = isShort || bits == 32
        value = register &* (factors.count > 1 ? UInt64(factors[1]) ?? 1 : 1)
      }
      total = isNegative ? total &- value : total &+ value
    }
    return isShort ? total & 0xffff_ffff : total
  }

  private func value(of name: Substring, _ registers: MachineRegisters) -> (UInt64, Int) {
    if name == "rip" { return (registers.rip &+ UInt64(length), 64) }
    if name == "eip" { return (registers.rip &+ UInt64(length), 32) }
    if name == "riz" { return (0, 64) }
    if name == "eiz" { return (0, 32) }
    let names = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]
    if let number = names.firstIndex(where: { $0 == name.dropFirst() }) {
      return (registers.general[number], name.first == "e" ? 32 : 64)
    }
    guard name.first == "r", let number = Int(name.dropFirst().prefix { $0.isNumber }), number < 16 else {
      return (0, 64)
    }
    return (registers.general[number], name.hasSuffix("d") ? 32 : 64)
  }
}

/// The GNU assembler, in Intel's notation.
enum Assembler {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// The bytes of each line's instruction.
  static func assemble(_ lines: [String]) throws -> [[UInt8]] {
    let file = FileManager.default.temporaryDirectory.appending(path: "exo-\(UUID().uuidString).s")
    defer { try? FileManager.default.removeItem(at: file) }
    // Each in a slot of its own behind its own length, so that nothing else need tell where it ends.
    var text = ".intel_syntax noprefix\n.text\n"
    for (number, line) in lines.enumerated() {
      text += "1:\(line)\n2:.fill 31 - (2b - 1b), 1, 0x90\n.byte 2b - 1b\n# \(number)\n"
    }
    try text.write(to: file, atomically: true, encoding: .utf8)
    let object = file.path + ".o"
    defer {
      try? FileManager.default.removeItem(atPath: object)
      try? FileManager.default.removeItem(atPath: object + ".bin")
    }
    let script = #"as --64 -o "$0.o" "$0" 2>&1 && objcopy -O binary -j .text "$0.o" "$0.o.bin""#
    let result = try Command("/bin/sh", ["-c", script, file.path]).run()
    guard let bytes = FileManager.default.contents(atPath: object + ".bin") else {
      throw Failure(description: result.output)
    }
    return lines.indices.map { index in
      let slot = Array(bytes[index * 32..<index * 32 + 32])
      return Array(slot.prefix(Int(slot[31])))
    }
  }
}
