/// All filters in one structure: a tree of what they compare, from the packet's first byte on. What filters have in common at
/// their beginning is there once; where they compare the same field with different values, one look-up finds the
/// value's subtree; where they go on with different fields, each is tried.
///
///     node      the filters that end here, best first; branches to try, each with a field or a move
///     branch    value -> node (a move has one, under 0)
///
/// Invariants: a node that is no root is the value of exactly one edge and has filters or branches; a branch has edges; two
/// branches of a node have different fields or moves. The tree is that of the filters in it, in whatever order they came and went.
struct FilterTrie: Sendable {
  enum Kind: Hashable, Sendable {
    case test(FilterField)
    case advance(FilterAdvance)
  }
  struct Node: Sendable {
    /// Of the filters that end here, highest first.
    var ranks: [UInt64] = []
    var branches: [Int] = []
    /// The branch that leads here; -1 for the root.
    var parent: Int
    var key: UInt32
    var rank: UInt64 { ranks.first ?? 0 }
  }
  struct Branch: Sendable {
    var kind: Kind
    var node: Int
    var edges = SplitDictionary<Int>()
  }
  /// What an insertion or removal changed, besides what lies below.
  enum Change: Hashable, Sendable {
    /// The best filter that ends at a node.
    case rank(node: Int)
    /// A branch has an edge more or less.
    case edge(branch: Int, key: UInt32)
    /// A node has a branch more or less.
    case branches(node: Int)
  }

  /// Most branches of a node: what bounds how much a packet has to try.
  static let branchLimit = 64
  static let root = 0

  private(set) var nodes = PagedArray<Node>()
  private(set) var branches = PagedArray<Branch>()
  private var freeNodes: [Int] = []
  private var freeBranches: [Int] = []

  init() { nodes.append(Node(parent: -1, key: 0)) }

  // --- ranks: the winner among several filters has the highest

  /// More compared bits win, then the lower number.
  static func rank(_ filter: Filter, _ id: FilterID) -> UInt64 {
    UInt64(filter.specificity) << 32 | UInt64(~id.number)
  }

  // --- changing it

  private static func edge(_ step: Filter.Step) -> (kind: Kind, key: UInt32) {
    switch step {
    case .compare(let field, let value): (.test(field), value)
    case .advance(let advance): (.advance(advance), 0)
    }
  }

  /// Adds a filter. Each (filter, number) at most once.
  mutating func insert(_ filter: Filter, _ id: FilterID) throws(FilterError) -> Change {
    var node = Self.root
    var index = 0
    var change: Change?
    while index < filter.steps.count {
      let (kind, key) = Self.edge(filter.steps[index])
      guard let branch = nodes[node].branches.first(where: { branches[$0].kind == kind }) else {
        guard nodes[node].branches.count < Self.branchLimit else { throw .tooComplex }
        change = .branches(node: node)
        break
      }
      guard let next = branches[branch].edges[key] else {
        change = .edge(branch: branch, key: key)
        break
      }
      node = next
      index += 1
    }
    // What is not there yet.
    for step in filter.steps[index...] {
      let (kind, key) = Self.edge(step)
      let branch = nodes[node].branches.first { branches[$0].kind == kind } ?? addBranch(kind, to: node)
      let next = addNode(parent: branch, key: key)
      branches[branch].edges[key] = next
      node = next
    }
    let rank = Self.rank(filter, id)
    let place = nodes[node].ranks.firstIndex { $0 < rank } ?? nodes[node].ranks.count
    nodes[node].ranks.insert(rank, at: place)
    return change ?? .rank(node: node)
  }

  /// Removes a filter; nil if it is not there. Branches that went with it are told: they name nothing any more.
  mutating func remove(_ filter: Filter, _ id: FilterID) -> (change: Change, gone: [Int])? {
    var node = Self.root
    for step in filter.steps {
      let (kind, key) = Self.edge(step)
      guard let branch = nodes[node].branches.first(where: { branches[$0].kind == kind }),
        let next = branches[branch].edges[key]
      else { return nil }
      node = next
    }
    let rank = Self.rank(filter, id)
    guard let place = nodes[node].ranks.firstIndex(of: rank) else { return nil }
    nodes[node].ranks.remove(at: place)
    var change = Change.rank(node: node)
    var gone: [Int] = []
    while node != Self.root, nodes[node].ranks.isEmpty, nodes[node].branches.isEmpty {
      let (branch, key) = (nodes[node].parent, nodes[node].key)
      branches[branch].edges[key] = nil
      nodes[node] = Node(parent: -1, key: 0)
      freeNodes.append(node)
      node = branches[branch].node
      change = .edge(branch: branch, key: key)
      guard branches[branch].edges.isEmpty else { break }
      nodes[node].branches.removeAll { $0 == branch }
      gone.append(branch)
      freeBranches.append(branch)
      change = .branches(node: node)
    }
    return (change, gone)
  }

  private mutating func addNode(parent: Int, key: UInt32) -> Int {
    let node = Node(parent: parent, key: key)
    guard let free = freeNodes.popLast() else {
      nodes.append(node)
      return nodes.count - 1
    }
    nodes[free] = node
    return free
  }
  private mutating func addBranch(_ kind: Kind, to node: Int) -> Int {
    let number: Int
    if let free = freeBranches.popLast() {
      branches[free] = Branch(kind: kind, node: node)
      number = free
    } else {
      branches.append(Branch(kind: kind, node: node))
      number = branches.count - 1
    }
    nodes[node].branches.append(number)
    return number
  }

  // --- reading it

  /// The rank of the best filter that matches; 0 if none does.
  func classify(_ packet: Span<UInt8>) -> UInt64 {
    var best: UInt64 = 0
    visit(Self.root, PacketCursor(), packet, &best)
    return best
  }

  /// As deep as the longest filter.
  private func visit(_ node: Int, _ cursor: PacketCursor, _ packet: Span<UInt8>, _ best: inout UInt64) {
    best = max(best, nodes[node].rank)
    for branch in nodes[node].branches {
      var cursor = cursor
      let key: UInt32
      switch branches[branch].kind {
      case .test(let field):
        guard let value = cursor.read(field, of: packet) else { continue }
        key = value
      case .advance(let advance):
        guard cursor.move(advance, in: packet) else { continue }
        key = 0
      }
      if let next = branches[branch].edges[key] { visit(next, cursor, packet, &best) }
    }
  }
}

/// The name of an installed filter.
public struct FilterID: Hashable, Comparable, Sendable, CustomStringConvertible {
  public let number: UInt32
  @usableFromInline init(number: UInt32) { self.number = number }
  /// The filter that has a rank (`FilterTrie.rank`); nil for 0, no rank.
  @inlinable init?(rank: UInt64) {
    guard rank != 0 else { return nil }
    self.init(number: ~UInt32(truncatingIfNeeded: rank))
  }
  public static func < (a: Self, b: Self) -> Bool { a.number < b.number }
  public var description: String { "filter \(number)" }
}
