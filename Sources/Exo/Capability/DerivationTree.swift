/// One capability, and its place in the tree of what was derived from what.
struct CapabilityNode {
  /// A position in the pool of nodes. 0 is no node.
  struct ID: Hashable, Sendable {
    var position: UInt32
    static let none = ID(position: 0)
  }

  let authority: Authority
  var environment: EnvironmentID
  var handle: CapabilityHandle
  /// Its entry in the frame index, for frames.
  var frames = FrameIndex.ID.none
  /// Counts capabilities as they are made: what is derived is younger than what it comes from.
  let serial: UInt64

  fileprivate(set) var parent: ID
  fileprivate(set) var firstChild = ID.none
  fileprivate(set) var previous = ID.none
  fileprivate(set) var next = ID.none

  /// A root stands for the object itself: the first capability to it, from which all others come.
  var isRoot: Bool { parent == .none }
}

/// The derivation trees of a machine, as seL4's capability derivation tree: who must lose authority when it is taken
/// from whom. Nodes live in one array and are linked by position: parent, first child, siblings both ways. Nothing
/// here recurses, since a guest chooses the shape.
struct DerivationTree {
  typealias ID = CapabilityNode.ID

  /// Position 0 is a stand-in that nothing points to. A free node is linked by `next`.
  private var nodes: [CapabilityNode]
  private var firstFree = ID.none
  private var lastSerial: UInt64 = 0
  private(set) var count = 0

  init() {
    let nothing = Authority(.gate(0), [])
    nodes = [
      CapabilityNode(
        authority: nothing, environment: EnvironmentID(0), handle: CapabilityHandle(rawValue: 0), serial: 0,
        parent: .none)
    ]
  }

  subscript(id: ID) -> CapabilityNode {
    get { nodes[Int(id.position)] }
    _modify { yield &nodes[Int(id.position)] }
  }

  /// Adds a node as the first child of `parent`, or a root. Its handle is to be set by the caller.
  mutating func insert(_ authority: Authority, of environment: EnvironmentID, under parent: ID) -> ID {
    count += 1
    lastSerial += 1
    let node = CapabilityNode(
      authority: authority, environment: environment, handle: CapabilityHandle(rawValue: 0),
      serial: lastSerial,
      parent: parent)
    let id: ID
    if firstFree == .none {
      id = ID(position: UInt32(nodes.count))
      nodes.append(node)
    } else {
      id = firstFree
      firstFree = self[id].next
      self[id] = node
    }
    if parent != .none { link(id, under: parent) }
    return id
  }

  /// Removes a node. What was derived from it counts as derived from its parent from now on. Time in proportion to
  /// its children.
  /// - Precondition: it has a parent, or no children.
  mutating func remove(_ id: ID) {
    let parent = self[id].parent
    while self[id].firstChild != .none {
      let child = self[id].firstChild
      unlink(child)
      link(child, under: parent)
    }
    if parent != .none { unlink(id) }
    self[id].parent = .none
    self[id].next = firstFree
    firstFree = id
    count -= 1
  }

  /// Some descendant of `id` without children, or `id` itself where it has none. Removing what this returns until it
  /// returns `id` empties the tree below in time proportional to its size: each descent starts where the last ended.
  func leaf(below id: ID) -> ID {
    var leaf = id
    while self[leaf].firstChild != .none { leaf = self[leaf].firstChild }
    return leaf
  }

  func children(of id: ID) -> some Sequence<ID> {
    sequence(state: self[id].firstChild) { child in
      guard child != .none else { return nil }
      defer { child = self[child].next }
      return child
    }
  }

  private mutating func link(_ id: ID, under parent: ID) {
    let second = self[parent].firstChild
    self[id].parent = parent
    self[id].previous = .none
    self[id].next = second
    if second != .none { self[second].previous = id }
    self[parent].firstChild = id
  }

  private mutating func unlink(_ id: ID) {
    let (previous, next, parent) = (self[id].previous, self[id].next, self[id].parent)
    if previous == .none { self[parent].firstChild = next } else { self[previous].next = next }
    if next != .none { self[next].previous = previous }
  }
}
