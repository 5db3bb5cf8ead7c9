/// Answers "does some capability of this environment cover this frame with these rights?" without looking at each.
///
/// A tree per environment, all in one array. Each is a search tree by first frame, and a heap by random priority,
/// which keeps it shallow whatever runs a guest chooses (a treap: Seidel and Aragon, 1996); each node also knows how
/// far the runs below it reach, once for every set of memory rights (an interval tree). Operations take a number of
/// steps logarithmic in the capabilities of the one environment, and a run takes the same memory whatever its length.
struct FrameIndex {
  /// A position in the array. 0 is no node: it covers nothing and is never written.
  struct ID: Hashable, Comparable, Sendable {
    var position: UInt32
    static let none = ID(position: 0)
    static func < (a: Self, b: Self) -> Bool { a.position < b.position }
  }

  private struct Node {
    var run: Run<UInt32>
    var rights: Rights
    var priority: UInt32
    var left = ID.none
    var right = ID.none
    /// For each set of memory rights, by raw value: the greatest end of the runs in this subtree whose
    /// rights include the set, 0 where there is none.
    var reach: SIMD8<UInt32>

    init(_ run: Run<UInt32>, _ rights: Rights, priority: UInt32) {
      self.run = run
      self.rights = rights
      self.priority = priority
      self.reach = Node.reach(run, rights)
    }

    static func reach(_ run: Run<UInt32>, _ rights: Rights) -> SIMD8<UInt32> {
      var reach = SIMD8<UInt32>(repeating: 0)
      for set in 0..<8 where Rights(rawValue: UInt32(set)).isSubset(of: rights) { reach[set] = run.end }
      return reach
    }
  }

  private var nodes: [Node]
  /// A free node is linked by `left`.
  private var firstFree = ID.none
  private var random: UInt64

  /// - Parameter seed: of the priorities. Guests must not know it, or they could choose runs that make a list.
  init(seed: UInt64) {
    random = seed
    nodes = []
    if let run = Run<UInt32>(first: 0, count: 1) {
      var nothing = Node(run, [], priority: 0)
      nothing.reach = SIMD8(repeating: 0)
      nodes.append(nothing)
    }
  }

  /// Whether a run in the tree at `root` covers `frame` and has all of `rights`.
  func covers(_ frame: Frame, _ rights: Rights, in root: ID) -> Bool {
    let set = Int(rights.rawValue)
    guard set < 8 else { return false }
    var id = root
    while id != .none {
      let node = self[id]
      if self[node.left].reach[set] > frame.number {
        // Some run on the left ends after the frame. If it does not begin early enough, none on the right does.
        id = node.left
      } else if node.run.first > frame.number {
        return false
      } else if node.run.contains(frame.number), rights.isSubset(of: node.rights) {
        return true
      } else {
        id = node.right
      }
    }
    return false
  }

  mutating func insert(_ run: Run<UInt32>, _ rights: Rights, into root: inout ID) -> ID {
    let node = Node(run, rights.intersection(.all), priority: nextPriority())
    let id: ID
    if firstFree == .none {
      id = ID(position: UInt32(nodes.count))
      nodes.append(node)
    } else {
      id = firstFree
      firstFree = self[id].left
      self[id] = node
    }
    root = inserting(id, into: root)
    return id
  }

  mutating func remove(_ id: ID, from root: inout ID) {
    root = removing(id, from: root)
    self[id].left = firstFree
    firstFree = id
  }

  /// The longest way down from `root`, in nodes: what bounds every operation above.
  func height(of root: ID) -> Int {
    root == .none ? 0 : 1 + max(height(of: self[root].left), height(of: self[root].right))
  }

  // MARK: The tree. Its height is logarithmic, so these recurse.

  private mutating func inserting(_ id: ID, into root: ID) -> ID {
    guard root != .none else { return id }
    if self[id].priority > self[root].priority {
      let (left, right) = splitting(root, at: id)
      self[id].left = left
      self[id].right = right
      return refreshed(id)
    }
    if precedes(id, root) {
      self[root].left = inserting(id, into: self[root].left)
    } else {
      self[root].right = inserting(id, into: self[root].right)
    }
    return refreshed(root)
  }

  private mutating func removing(_ id: ID, from root: ID) -> ID {
    guard root != id else { return joining(self[id].left, self[id].right) }
    if precedes(id, root) {
      self[root].left = removing(id, from: self[root].left)
    } else {
      self[root].right = removing(id, from: self[root].right)
    }
    return refreshed(root)
  }

  /// Divides a tree into what precedes `id` and what follows.
  private mutating func splitting(_ root: ID, at id: ID) -> (ID, ID) {
    guard root != .none else { return (.none, .none) }
    if precedes(root, id) {
      let (left, right) = splitting(self[root].right, at: id)
      self[root].right = left
      return (refreshed(root), right)
    } else {
      let (left, right) = splitting(self[root].left, at: id)
      self[root].left = right
      return (left, refreshed(root))
    }
  }

  /// Joins two trees, all of the first preceding all of the second.
  private mutating func joining(_ left: ID, _ right: ID) -> ID {
    if left == .none { return right }
    if right == .none { return left }
    if self[left].priority > self[right].priority {
      self[left].right = joining(self[left].right, right)
      return refreshed(left)
    } else {
      self[right].left = joining(left, self[right].left)
      return refreshed(right)
    }
  }

  /// Recomputes how far a subtree reaches, once its children have changed.
  private mutating func refreshed(_ id: ID) -> ID {
    let node = self[id]
    let below = pointwiseMax(self[node.left].reach, self[node.right].reach)
    self[id].reach = pointwiseMax(Node.reach(node.run, node.rights), below)
    return id
  }

  private func precedes(_ a: ID, _ b: ID) -> Bool {
    (self[a].run.first, a) < (self[b].run.first, b)
  }

  private subscript(id: ID) -> Node {
    get { nodes[Int(id.position)] }
    _modify { yield &nodes[Int(id.position)] }
  }

  /// SplitMix64 (Steele, Lea and Flood, 2014), whose low half is well mixed too.
  private mutating func nextPriority() -> UInt32 {
    random &+= 0x9e37_79b9_7f4a_7c15
    var mixed = random
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return UInt32(truncatingIfNeeded: mixed ^ mixed >> 31)
  }
}
