import Testing

@testable import LibOSHost

@Suite struct StringTableTests {
  func withTable(_ strings: [String], _ body: (StringTable) -> Void) {
    // One behind the other, as the exokernel lays them out.
    let block = UnsafeMutablePointer<CChar>.allocate(capacity: strings.reduce(0) { $0 + $1.utf8.count + 1 })
    defer { block.deallocate() }
    var addresses: [UInt64] = []
    var end = block
    for string in strings {
      addresses.append(UInt64(UInt(bitPattern: end)))
      string.withCString { end.update(from: $0, count: string.utf8.count + 1) }
      end += string.utf8.count + 1
    }
    addresses.withUnsafeBufferPointer {
      body(StringTable(address: UInt64(UInt(bitPattern: $0.baseAddress)), count: strings.count))
    }
  }

  @Test func aValueIsFoundByItsWholeName() {
    withTable(["PATHS=wrong", "PA=short", "PATH=a=b", "PATH=second", "EMPTY=", "BARE", "NEXT=x", "=odd"]) {
      table in
      #expect(table.value(of: "PATH") == "a=b")
      #expect(table.value(of: "PAT") == nil)
      #expect(table.value(of: "PATHS") == "wrong")
      #expect(table.value(of: "EMPTY") == "")
      #expect(table.value(of: "BARE") == nil)
      #expect(table.value(of: "BARE\0NEXT") == nil)
      #expect(table.value(of: "ABSENT") == nil)
      #expect(String(cString: table[1]) == "PA=short")
    }
  }

  @Test func anEmptyTableHasNothing() {
    #expect(StringTable(address: 0, count: 0).value(of: "PATH") == nil)
  }
}
