import ExoABI

/// The form in which an environment writes a filter (`struct exo_filter_step`), decoded once and checked.
extension Filter {
  /// - Throws: `invalid` for what is no filter.
  init(described bytes: ArraySlice<UInt8>) throws(Refusal) {
    let size = MemoryLayout<exo_filter_step>.stride
    guard bytes.count % size == 0, bytes.count <= Int(EXO_FILTER_STEPS) * size else { throw .invalid }
    var steps: [Step] = []
    for at in stride(from: bytes.startIndex, to: bytes.endIndex, by: size) {
      func number(_ offset: Int, _ width: Int) -> UInt32 {
        (0..<width).reduce(0) { $0 | UInt32(bytes[at + offset + $1]) << UInt32($1 * 8) }
      }
      steps.append(
        try Step(
          operation: Int32(bytes[at]), width: Int(bytes[at + 1]), offset: Int(number(2, 2)),
          mask: number(4, 4),
          value: number(8, 4)))
    }
    do { try self.init(steps) } catch { throw .invalid }
  }
}

extension Filter.Step {
  fileprivate init(operation: Int32, width: Int, offset: Int, mask: UInt32, value: UInt32) throws(Refusal) {
    guard offset <= Int(EXO_FILTER_OFFSET_LIMIT) else { throw .invalid }
    switch operation {
    case EXO_FILTER_COMPARE:
      guard [1, 2, 4].contains(width) else { throw .invalid }
      self = .compare(FilterField(offset: offset, width: width, mask: mask), value)
    case EXO_FILTER_PROTOCOL:
      guard mask <= 0xff, value <= 0xff else { throw .invalid }
      self = .compare(FilterField(offset: -1, width: 1, mask: mask), value)
    case EXO_FILTER_HEADER:
      let shift = Int(Int32(bitPattern: value))
      guard let mask = UInt8(exactly: mask), (-7...4).contains(shift) else { throw .invalid }
      self = .advance(.headerLength(offset: offset, mask: mask, shift: shift))
    case EXO_FILTER_TAGS: self = .advance(.vlanTags(offset: offset))
    case EXO_FILTER_EXTENSIONS: self = .advance(.extensionHeaders(offset: offset))
    default: throw .invalid
    }
  }
}
