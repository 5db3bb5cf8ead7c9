/// A comparison of bytes of a packet, as they lie in memory, with what they must be. Fields that lie together become one (DPF calls
/// that coalescing atoms).
enum FilterComparison: Hashable {
  /// 1, 2 or 4 bytes, the first the lowest.
  case number(offset: Int, width: Int, mask: UInt32, value: UInt32)
  /// 16 bytes. What is not in the mask is 0 in the value.
  case wide(offset: Int, mask: [UInt8], value: [UInt8])

  private static let wideWidth = 16

  /// As few as say the same as conditions on bytes.
  /// - Parameter known: how many bytes there are, past every offset; no comparison reads another.
  static func covering(_ conditions: [Int: ByteCondition], known: Int) -> [FilterComparison] {
    var result: [FilterComparison] = []
    var left = conditions.filter { $0.value.mask != 0 }.keys.sorted()[...]
    while let first = left.first {
      let wide = min(first, known - wideWidth)
      let together = left.prefix { $0 < wide + wideWidth }
      let span = left.prefix { $0 < first + 4 }
      let covered: ArraySlice<Int>
      if wide >= 0, together.count > span.count {
        let bytes = (wide..<wide + wideWidth).map { together.contains($0) ? conditions[$0] : nil }
        result.append(
          .wide(
            offset: wide, mask: bytes.map { $0?.mask ?? 0 },
            value: bytes.map { $0.map { $0.value & $0.mask } ?? 0 }))
        covered = together
      } else {
        let width = width(from: first, through: span.last ?? first, known: known)
        let start = max(min(first, known - width), 0)
        covered = span.prefix { $0 < start + width }
        var (mask, value): (UInt32, UInt32) = (0, 0)
        for offset in covered {
          guard let byte = conditions[offset] else { continue }
          mask |= UInt32(byte.mask) << UInt32((offset - start) * 8)
          value |= UInt32(byte.value & byte.mask) << UInt32((offset - start) * 8)
        }
        result.append(.number(offset: start, width: width, mask: mask, value: value))
      }
      left = left.dropFirst(covered.count)
    }
    return result
  }

  /// Wide enough, if there are so many bytes.
  private static func width(from first: Int, through last: Int, known: Int) -> Int {
    switch last - first {
    case 0: 1
    case 1: 2
    default: known >= 4 ? 4 : 2
    }
  }
}

/// Comparisons of the trie that are made together: none of them has another value or another field beside it, and no filter ends in
/// between.
struct FilterRun {
  private(set) var conditions: [Int: ByteCondition] = [:]
  /// Bytes that the packet must have.
  private(set) var length = 0
  private(set) var end: End

  enum End {
    case node(Int)
    /// The only one of a node where no filter ends.
    case branch(Int)
  }

  /// From a branch on; it is that branch's own beginning if there are none.
  init(from start: Int, of trie: FilterTrie, isTabled: (Int) -> Bool) {
    end = .branch(start)
    while case .branch(let number) = end, !isTabled(number) {
      let branch = trie.branches[number]
      guard case .test(let field) = branch.kind, !field.isProtocol, branch.edges.count == 1,
        let (value, node) = branch.edges.first
      else { return }
      length = max(length, field.offset + field.width)
      for (offset, byte) in ByteCondition.each(field.offset, field.width, field.mask, value) {
        conditions[offset] = byte.and(conditions[offset])
      }
      let next = trie.nodes[node]
      end = next.ranks.isEmpty && next.branches.count == 1 ? .branch(next.branches[0]) : .node(node)
    }
  }
}
