/// Every capability of a machine: who holds what, and from whom it came.
///
/// An environment names an entry of its table by handle; the entry is a node of a derivation tree; the tree's root is
/// the first capability to the object, which the exokernel mints for the object's owner. So
///
/// - a capability never has more authority than the one it was derived from (`dominates`),
/// - whoever holds a root owns the object: when the root goes, so does every capability to the object,
/// - taking back reaches everything derived, in every environment.
///
/// Each operation validates, then charges, then changes: one that throws changed nothing. Those that remove
/// capabilities return them, and the caller breaks the bindings that stood on them before anything else can happen.
/// Callers serialise access (the machine's lock). There is one of it: a copy would be a second truth.
struct CapabilitySpace: ~Copyable {
  /// A capability that is no more.
  struct Removed: Hashable, Sendable {
    let environment: EnvironmentID
    let handle: CapabilityHandle
    let authority: Authority
    /// Whether it was the object's first: the object goes with it.
    var isRoot: Bool
  }

  var quotas = QuotaLedger()
  private(set) var tree = DerivationTree()
  /// Where each environment's table is in `tables`. Places are reused.
  private(set) var places: [EnvironmentID: Int] = [:]
  private(set) var tables: [CapabilityTable] = []
  private var freePlaces: [Int] = []
  private(set) var roots: [Resource: CapabilityNode.ID] = [:]
  private(set) var frames: FrameIndex
  /// What went wrong where it could not be thrown: always empty, unless the exokernel itself is in error.
  private(set) var faults: [String] = []

  /// - Parameter seed: shapes the frame index; tests fix it to be replayable.
  init(seed: UInt64 = .random(in: .min ... .max)) { frames = FrameIndex(seed: seed) }

  // MARK: Environments

  /// Gives an environment that nobody in the machine created its table and quota.
  mutating func open(_ environment: EnvironmentID, limit: Quota) throws(CapabilityError) {
    do { try quotas.open(environment, limit: limit) } catch { throw .quota(error) }
    addTable(of: environment)
  }

  /// Gives an environment its table, and a quota out of its parent's.
  mutating func open(
    _ environment: EnvironmentID, under parent: EnvironmentID, limit: Quota
  ) throws(CapabilityError) {
    guard places[parent] != nil else { throw .noEnvironment(parent) }
    do { try quotas.open(environment, under: parent, limit: limit) } catch { throw .quota(error) }
    addTable(of: environment)
  }

  /// Ends an environment's authority: its table is gone when this returns, and nothing can be given to it any more.
  /// What it owned is taken from everyone; what others derived from the rest stays with them. Its quota is to be
  /// closed (`quotas.close`) once everything charged to it has been released.
  mutating func removeAll(of environment: EnvironmentID) -> [Removed] {
    guard let place = places[environment] else { return [] }
    var removed: [Removed] = []
    // Oldest first, so that what is derived from an entry moves up once, to a capability that stays.
    let oldestFirst = tables[place].nodes.map { (serial: tree[$0].serial, handle: tree[$0].handle) }
      .sorted { $0.serial < $1.serial }
    for (_, handle) in oldestFirst {
      // It may have gone with an older one.
      guard let node = try? tables[place].resolve(handle) else { continue }
      giveUp(node, &removed)
    }
    tables[place] = CapabilityTable()
    freePlaces.append(place)
    places[environment] = nil
    return removed
  }

  // MARK: Looking up

  /// What a handle stands for.
  func lookup(
    _ handle: CapabilityHandle, in environment: EnvironmentID
  ) throws(CapabilityError) -> Authority {
    tree[try node(handle, in: environment)].authority
  }

  /// The object a handle names, which must be of `kind`, if the handle gives at least `rights` to it.
  func lookup(
    _ handle: CapabilityHandle, in environment: EnvironmentID, kind: Resource.Kind, rights: CapabilityRights
  ) throws(CapabilityError) -> Resource {
    let held = try lookup(handle, in: environment)
    guard held.resource.kind == kind else { throw .wrongKind(handle, is: held.resource.kind, wanted: kind) }
    guard rights.isSubset(of: held.rights) else {
      throw .missingRights(handle, holds: held.rights, wanted: rights)
    }
    return held.resource
  }

  /// Checks that a handle gives at least `wanted`.
  func lookup(
    _ handle: CapabilityHandle, in environment: EnvironmentID, wanting wanted: Authority
  ) throws(CapabilityError) {
    let held = try lookup(handle, in: environment)
    guard held.resource.kind == wanted.resource.kind else {
      throw .wrongKind(handle, is: held.resource.kind, wanted: wanted.resource.kind)
    }
    guard dominates(held, wanted) else { throw .notDominated(handle, holds: held, wanted: wanted) }
  }

  /// Whether some one capability of the environment covers the frame with all of `rights`.
  func holdsFrame(_ frame: Frame, _ rights: Rights, in environment: EnvironmentID) -> Bool {
    guard let place = places[environment] else { return false }
    return frames.covers(frame, rights, in: tables[place].frames)
  }

  /// What a holder may know of its capability.
  struct Inspection: Hashable, Sendable {
    let authority: Authority
    /// Whether it is the object's first capability: its holder owns the object.
    let isRoot: Bool
    /// Whether anything derived from it exists.
    let hasDerived: Bool
  }

  func inspect(
    _ handle: CapabilityHandle, in environment: EnvironmentID
  ) throws(CapabilityError) -> Inspection {
    let node = tree[try node(handle, in: environment)]
    return Inspection(authority: node.authority, isRoot: node.isRoot, hasDerived: node.firstChild != .none)
  }

  /// The owner of an object that was minted exactly so.
  func owner(of resource: Resource) -> EnvironmentID? { roots[resource].map { tree[$0].environment } }

  var environments: some Sequence<EnvironmentID> { places.keys }

  /// All capabilities of an environment, by index.
  func entries(of environment: EnvironmentID) -> [(handle: CapabilityHandle, authority: Authority)] {
    guard let place = places[environment] else { return [] }
    return tables[place].nodes.map { (tree[$0].handle, tree[$0].authority) }
  }

  /// The next capability of an environment by index after a handle's, current or not; the first after nil.
  func next(after handle: CapabilityHandle?, of environment: EnvironmentID) -> CapabilityHandle? {
    guard let place = places[environment] else { return nil }
    return tables[place].first(from: handle.map { Int($0.index) + 1 } ?? 0).map { tree[$0].handle }
  }

  // MARK: Giving

  /// Makes the first capability to an object. Only the exokernel does, as the object comes to be. It must not overlap
  /// an object minted before.
  mutating func mint(
    _ authority: Authority, in environment: EnvironmentID
  ) throws(CapabilityError) -> CapabilityHandle {
    let kind = authority.resource.kind
    guard authority.rights.isSubset(of: kind.rights) else {
      throw .meaninglessRights(kind, authority.rights.subtracting(kind.rights))
    }
    guard roots[authority.resource] == nil else { throw .alreadyMinted(authority.resource) }
    return try add(authority, to: environment, under: .none)
  }

  /// Makes a narrower entry beside one, in the same table.
  mutating func derive(
    _ handle: CapabilityHandle, in environment: EnvironmentID, as narrower: Authority
  ) throws(CapabilityError) -> CapabilityHandle {
    let parent = try node(handle, in: environment)
    try lookup(handle, in: environment, wanting: narrower)
    return try add(narrower, to: environment, under: parent)
  }

  /// Makes an entry, as wide or narrower, in another environment's table. Needs the `grant` right. The receiver's
  /// quota pays, so the caller has made sure that `giver` may put capabilities there (the `deliver` right).
  mutating func grant(
    _ handle: CapabilityHandle, from giver: EnvironmentID, to receiver: EnvironmentID, as narrower: Authority
  ) throws(CapabilityError) -> CapabilityHandle {
    let parent = try grantable(handle, by: giver)
    try lookup(handle, in: giver, wanting: narrower)
    return try add(narrower, to: receiver, under: parent)
  }

  /// Grants the same objects with at most `rights`.
  mutating func grant(
    _ handle: CapabilityHandle, from giver: EnvironmentID, to receiver: EnvironmentID,
    rights: CapabilityRights
  ) throws(CapabilityError) -> CapabilityHandle {
    let held = try lookup(handle, in: giver)
    return try grant(handle, from: giver, to: receiver, as: Authority(held.resource, rights))
  }

  /// Moves an entry, with its place in the tree, to another environment's table: with a root, ownership passes. Needs
  /// the `grant` right, and the same assurance as `grant`. `removed` is what the giver no longer holds.
  mutating func move(
    _ handle: CapabilityHandle, from giver: EnvironmentID, to receiver: EnvironmentID
  ) throws(CapabilityError) -> (handle: CapabilityHandle, removed: Removed) {
    let node = try grantable(handle, by: giver)
    let place = try charge(receiver)
    var removed = detach(node)
    removed.isRoot = false  // a root that moves is no longer the giver's, but the object stays
    tree[node].environment = receiver
    return (attach(node, at: place), removed)
  }

  // MARK: Taking

  /// Gives up an entry. What was derived from it now counts as derived from what it came from. A root came from
  /// nothing: the object goes, and every capability to it.
  mutating func drop(
    _ handle: CapabilityHandle, in environment: EnvironmentID
  ) throws(CapabilityError) -> [Removed] {
    var removed: [Removed] = []
    giveUp(try node(handle, in: environment), &removed)
    return removed
  }

  /// Takes back everything derived from an entry, wherever it is. The entry itself stays.
  mutating func revoke(
    _ handle: CapabilityHandle, in environment: EnvironmentID
  ) throws(CapabilityError) -> [Removed] {
    var removed: [Removed] = []
    removeDerived(from: try node(handle, in: environment), &removed)
    return removed
  }

  /// Takes every capability to an object that was minted exactly so, as it ceases to be.
  mutating func withdraw(_ resource: Resource) -> [Removed] {
    var removed: [Removed] = []
    if let root = roots[resource] { giveUp(root, &removed) }
    return removed
  }

  // MARK: Steps

  private mutating func addTable(of environment: EnvironmentID) {
    if let place = freePlaces.popLast() {
      places[environment] = place
    } else {
      places[environment] = tables.count
      tables.append(CapabilityTable())
    }
  }

  private func place(of environment: EnvironmentID) throws(CapabilityError) -> Int {
    guard let place = places[environment] else { throw .noEnvironment(environment) }
    return place
  }

  private func node(
    _ handle: CapabilityHandle, in environment: EnvironmentID
  ) throws(CapabilityError) -> CapabilityNode.ID {
    try tables[place(of: environment)].resolve(handle)
  }

  private func grantable(
    _ handle: CapabilityHandle, by giver: EnvironmentID
  ) throws(CapabilityError) -> CapabilityNode.ID {
    let id = try node(handle, in: giver)
    let held = tree[id].authority.rights
    guard held.contains(.grant) else { throw .missingRights(handle, holds: held, wanted: .grant) }
    return id
  }

  private mutating func add(
    _ authority: Authority, to environment: EnvironmentID, under parent: CapabilityNode.ID
  ) throws(CapabilityError) -> CapabilityHandle {
    let place = try charge(environment)
    let node = tree.insert(authority, of: environment, under: parent)
    if parent == .none { roots[authority.resource] = node }
    return attach(node, at: place)
  }

  /// Charges an environment for one entry. Returns the place of its table.
  private mutating func charge(_ environment: EnvironmentID) throws(CapabilityError) -> Int {
    let place = try place(of: environment)
    do { try quotas.charge(1, .capabilities, to: environment) } catch { throw .quota(error) }
    return place
  }

  /// Enters a node into its environment's table and frame index.
  private mutating func attach(_ id: CapabilityNode.ID, at place: Int) -> CapabilityHandle {
    let handle = tables[place].insert(id)
    tree[id].handle = handle
    if case .frames(let run) = tree[id].authority.resource {
      tree[id].frames = frames.insert(run, tree[id].authority.rights.memory, into: &tables[place].frames)
    }
    return handle
  }

  /// Takes a node out of its environment's table, frame index and quota.
  private mutating func detach(_ id: CapabilityNode.ID) -> Removed {
    let node = tree[id]
    if let place = places[node.environment] {
      tables[place].remove(node.handle)
      if node.frames != .none { frames.remove(node.frames, from: &tables[place].frames) }
    } else {
      faults.append("\(node.handle), \(node.authority): \(node.environment) has no table")
    }
    tree[id].frames = .none
    do { try quotas.release(1, .capabilities, of: node.environment) } catch { faults.append("\(error)") }
    return Removed(
      environment: node.environment, handle: node.handle, authority: node.authority, isRoot: node.isRoot)
  }

  private mutating func remove(_ id: CapabilityNode.ID, _ removed: inout [Removed]) {
    removed.append(detach(id))
    tree.remove(id)
  }

  private mutating func giveUp(_ id: CapabilityNode.ID, _ removed: inout [Removed]) {
    if tree[id].isRoot {
      removeDerived(from: id, &removed)
      roots[tree[id].authority.resource] = nil
    }
    remove(id, &removed)
  }

  private mutating func removeDerived(from id: CapabilityNode.ID, _ removed: inout [Removed]) {
    var leaf = tree.leaf(below: id)
    while leaf != id {
      let parent = tree[leaf].parent
      remove(leaf, &removed)
      leaf = tree.leaf(below: parent)
    }
  }
}
