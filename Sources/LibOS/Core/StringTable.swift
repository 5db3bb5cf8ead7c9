/// An array of addresses of NUL-ended strings, as the start page refers to them.
package struct StringTable {
  package let address: UInt64
  package let count: Int

  package init(address: UInt64, count: Int) {
    self.address = address
    self.count = count
  }

  package subscript(index: Int) -> UnsafePointer<CChar> {
    let table = UnsafePointer<UInt64>(bitPattern: UInt(address)).unsafelyUnwrapped
    return UnsafePointer(bitPattern: UInt(table[index])).unsafelyUnwrapped
  }

  /// The value of the first string of the form `name=value`. Names are compared as bytes.
  package func value(of name: String) -> String? {
    for index in 0..<count {
      var rest = self[index]
      var matches = true
      for byte in name.utf8 {
        matches = matches && UInt8(bitPattern: rest.pointee) == byte && byte != 0
        if !matches { break }
        rest += 1
      }
      if matches, rest.pointee == 0x3d { return String(cString: rest + 1) }
    }
    return nil
  }
}
