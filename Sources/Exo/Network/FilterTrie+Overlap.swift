/// Which filters some packet matches besides another one: what `Filter.overlaps` says of each, found without asking each. Where the
/// other filter says all of a field, only one value's subtree is looked at.
extension FilterTrie {
  /// Visits filters that overlap, in no order, until one is accepted. Returns whether one was.
  func containsOverlapping(_ filter: Filter, where accepts: (FilterID) -> Bool) -> Bool {
    let segments = filter.segments.map { (arrival: $0.arrival, conditions: Filter.conditions(of: $0)) }

    /// - Parameter place: the segment of the filter that a node's offsets count from; as many as there are if nothing is known of
    ///   how the two lie.
    func visit(_ node: Int, _ place: Int) -> Bool {
      for rank in nodes[node].ranks {
        if let id = FilterID(rank: rank), accepts(id) { return true }
      }
      for branch in nodes[node].branches {
        switch branches[branch].kind {
        case .advance(let advance):
          let isSame = place + 1 < segments.count && segments[place + 1].arrival == advance
          for (_, child) in branches[branch].edges
          where visit(child, isSame ? place + 1 : segments.count) { return true }
        case .test(let field):
          let (mask, value) = place < segments.count ? field.known(from: segments[place].conditions) : (0, 0)
          if mask == field.mask {
            if let child = branches[branch].edges[value], visit(child, place) { return true }
          } else {
            for (key, child) in branches[branch].edges where (key ^ value) & mask == 0 && visit(child, place)
            {
              return true
            }
          }
        }
      }
      return false
    }
    return visit(Self.root, 0)
  }
}

extension FilterField {
  /// What conditions on bytes say of it.
  fileprivate func known(from conditions: [Int: ByteCondition]) -> (mask: UInt32, value: UInt32) {
    var (mask, value): (UInt32, UInt32) = (0, 0)
    for index in 0..<width {
      let byte = conditions[offset + index]
      mask = mask << 8 | UInt32(byte?.mask ?? 0)
      value = value << 8 | UInt32(byte.map { $0.value & $0.mask } ?? 0)
    }
    return (mask & self.mask, value & self.mask)
  }
}
