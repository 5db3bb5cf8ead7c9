import ExoABI

/// The argument pages: an array of addresses for the arguments, one for the variables, then the strings.
struct ArgumentBlock {
  let bytes: [UInt8]
  var pages: Int { (bytes.count + 4095) >> 12 }

  init(arguments: [String], variables: [String]) throws(LaunchError) {
    let strings = arguments + variables
    var table: [UInt8] = []
    var text: [UInt8] = []
    for (index, string) in strings.enumerated() {
      let utf8 = Array(string.utf8)
      guard !utf8.contains(0) else { throw .argumentWithNUL(index: index) }
      let address = exo_kit_arguments + UInt64(strings.count * 8 + text.count)
      for shift in stride(from: UInt64(0), to: 64, by: 8) {
        table.append(UInt8(truncatingIfNeeded: address >> shift))
      }
      text += utf8 + [0]
    }
    bytes = table + text
    let limit = Int(EXO_KIT_ARGUMENT_PAGES) << 12
    guard bytes.count <= limit else { throw .argumentsTooLong(bytes: bytes.count, limit: limit) }
  }
}
