import ExoABI
import Testing

@testable import Exo

/// The argument pages as an environment reads them.
@Suite struct AddressSpaceArgumentTests {
  /// Follows the pointers of a block that lies at its address.
  private func strings(_ block: ArgumentBlock, _ range: Range<Int>) -> [[UInt8]] {
    range.map { index in
      let word = block.bytes[(index * 8)..<(index * 8 + 8)]
      let address = word.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      let start = Int(address - exo_kit_arguments)
      return Array(block.bytes[start...].prefix { $0 != 0 })
    }
  }

  @Test func pointersAndStrings() throws {
    let arguments = ["name", "", "zwei drei", "naïve ☃ 👩‍👩‍👧", "-x", ""]
    let variables = ["A=1", "EMPTY=", "=odd", "Ü=ö"]
    let block = try ArgumentBlock(arguments: arguments, variables: variables)
    #expect(strings(block, 0..<6) == arguments.map { Array($0.utf8) })
    #expect(strings(block, 6..<10) == variables.map { Array($0.utf8) })
    #expect(block.bytes.last == 0)
    #expect(block.pages == 1)
  }

  @Test func none() throws {
    let block = try ArgumentBlock(arguments: [], variables: [])
    #expect(block.bytes.isEmpty && block.pages == 0)
  }

  @Test func exactlyAsMuchAsFits() throws {
    let limit = Int(EXO_KIT_ARGUMENT_PAGES) << 12
    // A pointer and a NUL.
    let longest = String(repeating: "x", count: limit - 9)
    #expect(try ArgumentBlock(arguments: [longest], variables: []).pages == Int(EXO_KIT_ARGUMENT_PAGES))
    #expect(try ArgumentBlock(arguments: [], variables: [longest]).bytes.count == limit)
    #expect(throws: LaunchError.argumentsTooLong(bytes: limit + 1, limit: limit)) {
      try ArgumentBlock(arguments: [longest + "x"], variables: [])
    }
    #expect(throws: LaunchError.argumentsTooLong(bytes: limit + 9, limit: limit)) {
      try ArgumentBlock(arguments: [longest], variables: [""])
    }
  }

  @Test func pagesRoundUp() throws {
    for (count, pages) in [(4096 - 9, 1), (4096 - 8, 2), (8192 - 9, 2), (8192 - 8, 3)] {
      #expect(
        try ArgumentBlock(arguments: [String(repeating: "y", count: count)], variables: []).pages == pages)
    }
  }

  @Test func nulIsRefusedWhereItIs() {
    #expect(throws: LaunchError.argumentWithNUL(index: 1)) {
      try ArgumentBlock(arguments: ["a", "b\0c"], variables: [])
    }
    #expect(throws: LaunchError.self) { try ArgumentBlock(arguments: ["a"], variables: ["\0"]) }
  }
}
