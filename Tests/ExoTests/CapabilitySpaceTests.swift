import ExoABI
import Testing

@testable import Exo

@Suite struct CapabilitySpaceTests {
  private let a = EnvironmentID(1)
  private let b = EnvironmentID(2)
  private let c = EnvironmentID(3)

  /// A space with three environments of ample quota.
  private func space(capabilities: UInt64 = 100) throws -> CapabilitySpace {
    var space = CapabilitySpace(seed: 1)
    for environment in [a, b, c] { try space.open(environment, limit: Quota(capabilities: capabilities)) }
    return space
  }

  private func holders(
    of frame: UInt32, _ rights: Rights, in space: borrowing CapabilitySpace
  ) -> [EnvironmentID] {
    [a, b, c].filter { space.holdsFrame(Frame(frame), rights, in: $0) }
  }

  @Test func looksUpWhatWasMinted() throws {
    var space = try space()
    let held = try #require(Authority.frames(10, 5))
    let handle = try space.mint(held, in: a)
    #expect(try space.lookup(handle, in: a) == held)
    #expect(try space.lookup(handle, in: a, kind: .frames, rights: [.read, .write]) == held.resource)
    try space.lookup(handle, in: a, wanting: #require(Authority.frames(11, 2, .read)))
    #expect(try space.inspect(handle, in: a) == .init(authority: held, isRoot: true, hasDerived: false))
    #expect(space.owner(of: held.resource) == a)
    #expect(space.checkInvariants() == [])
  }

  @Test func refusesForgedForeignAndStaleHandles() throws {
    var space = try space()
    let handle = try space.mint(try #require(Authority.frames(0, 1)), in: a)
    let forged = [
      0, 1, UInt64.max, UInt64(handle.index), 1 << 32 | 7, 2 << 32, UInt64(UInt32.max),
    ].map { CapabilityHandle(rawValue: $0) }
    for handle in forged {
      #expect(throws: CapabilityError.badHandle(handle)) { try space.lookup(handle, in: a) }
    }
    #expect(throws: CapabilityError.badHandle(handle)) { try space.lookup(handle, in: b) }
    #expect(throws: CapabilityError.noEnvironment(EnvironmentID(9))) {
      try space.lookup(handle, in: EnvironmentID(9))
    }
    _ = try space.drop(handle, in: a)
    #expect(throws: CapabilityError.stale(handle, current: 2)) { try space.lookup(handle, in: a) }
    let next = try space.mint(Authority(.gate(1), .call), in: a)
    #expect(next.index == handle.index && next.generation == 2)
    #expect(throws: CapabilityError.stale(handle, current: 2)) { try space.drop(handle, in: a) }
    #expect(try space.lookup(next, in: a).resource == .gate(1))
  }

  /// From one to the next without looking at those before: all of them, by index, whatever was dropped.
  @Test func aWalkComesByEachOnce() throws {
    var space = try space()
    let handles = try (0..<20).map { try space.mint(Authority(.gate($0), .call), in: a) }
    func walk(after first: CapabilityHandle?) -> [CapabilityHandle] {
      Array(
        sequence(state: first) { last -> CapabilityHandle? in
          last = space.next(after: last, of: a)
          return last
        })
    }
    #expect(walk(after: nil) == handles)
    for index in [0, 1, 7, 19] { _ = try space.drop(handles[index], in: a) }
    let left = handles.indices.filter { ![0, 1, 7, 19].contains($0) }.map { handles[$0] }
    #expect(walk(after: nil) == left)
    // A handle that is stale by now still says where to go on.
    #expect(walk(after: handles[7]) == left.filter { $0.index > 7 })
    #expect(walk(after: handles[19]) == [])
    #expect(space.next(after: nil, of: b) == nil)
    #expect(space.next(after: nil, of: EnvironmentID(9)) == nil)
  }

  @Test func aSlotWhoseGenerationsAreUsedUpIsNeverReused() throws {
    var table = CapabilityTable(firstGeneration: .max - 1)
    let node = CapabilityNode.ID(position: 1)
    let first = table.insert(node)
    table.remove(first)
    let last = table.insert(node)
    #expect(last.index == first.index && last.generation == .max)
    table.remove(last)
    #expect(throws: CapabilityError.stale(last, current: .max)) { try table.resolve(last) }
    let other = table.insert(node)
    #expect(other.index != last.index)
    #expect(try table.resolve(other) == node)
    #expect(table.count == 1)
  }

  @Test func refusesWrongKindsAndExcessRights() throws {
    var space = try space()
    let gate = try space.mint(Authority(.gate(4), [.call]), in: a)
    #expect(throws: CapabilityError.wrongKind(gate, is: .gate, wanted: .event)) {
      try space.lookup(gate, in: a, kind: .event, rights: [])
    }
    #expect(throws: CapabilityError.missingRights(gate, holds: .call, wanted: .control)) {
      try space.lookup(gate, in: a, kind: .gate, rights: .control)
    }
    #expect(throws: CapabilityError.missingRights(gate, holds: .call, wanted: .grant)) {
      try space.grant(gate, from: a, to: b, rights: .call)
    }
    #expect(throws: CapabilityError.missingRights(gate, holds: .call, wanted: .grant)) {
      try space.move(gate, from: a, to: b)
    }
    let wider = Authority(.gate(4), [.call, .grant])
    #expect(throws: CapabilityError.notDominated(gate, holds: Authority(.gate(4), .call), wanted: wider)) {
      try space.derive(gate, in: a, as: wider)
    }
    #expect(throws: CapabilityError.wrongKind(gate, is: .gate, wanted: .event)) {
      try space.derive(gate, in: a, as: Authority(.event(4), []))
    }
    #expect(throws: CapabilityError.meaninglessRights(.gate, .write)) {
      try space.mint(Authority(.gate(5), [.call, .write]), in: a)
    }
    #expect(throws: CapabilityError.alreadyMinted(.gate(4))) {
      try space.mint(Authority(.gate(4), .call), in: b)
    }
    #expect(space.entries(of: a).count == 1)
    #expect(space.checkInvariants() == [])
  }

  @Test func takesBackFromEverywhereButTheEntryItself() throws {
    var space = try space()
    let root = try space.mint(try #require(Authority.frames(0, 8)), in: a)
    let half = try space.derive(root, in: a, as: try #require(Authority.frames(0, 4)))
    let lent = try space.grant(half, from: a, to: b, rights: [.read, .grant])
    let relent = try space.grant(lent, from: b, to: c, as: try #require(Authority.frames(2, 1, .read)))
    #expect(holders(of: 2, .read, in: space) == [a, b, c])
    #expect(holders(of: 2, .write, in: space) == [a])
    #expect(holders(of: 3, .read, in: space) == [a, b])

    let removed = try space.revoke(half, in: a)
    #expect(removed.map(\.handle) == [relent, lent])
    #expect(removed.map(\.environment) == [c, b])
    #expect(
      try removed.map(\.authority) == [
        #require(Authority.frames(2, 1, .read)), #require(Authority.frames(0, 4, [.read, .grant])),
      ])
    #expect(throws: CapabilityError.stale(relent, current: 2)) { try space.lookup(relent, in: c) }
    #expect(holders(of: 2, [], in: space) == [a])
    #expect(holders(of: 2, .all, in: space) == [a])
    #expect(try space.lookup(half, in: a).rights == .everyMemoryRight)
    #expect(space.checkInvariants() == [])
  }

  @Test func whatADroppedEntryLentStillComesFromItsSource() throws {
    var space = try space()
    let root = try space.mint(Authority(.event(1), [.signal, .grant]), in: a)
    let middle = try space.grant(root, from: a, to: b, rights: [.signal, .grant])
    let end = try space.grant(middle, from: b, to: c, rights: .signal)
    #expect(try space.drop(middle, in: b).map(\.handle) == [middle])
    #expect(try space.lookup(end, in: c).resource == .event(1))
    #expect(space.checkInvariants() == [])
    #expect(try space.revoke(root, in: a).map(\.handle) == [end])
  }

  @Test func anObjectGoesWithItsRoot() throws {
    var space = try space()
    let root = try space.mint(Authority(.environment(c), [.control, .grant]), in: a)
    let lent = try space.grant(root, from: a, to: b, rights: .control)
    let removed = try space.drop(root, in: a)
    #expect(removed.map(\.handle) == [lent, root])
    #expect(removed.map(\.isRoot) == [false, true])
    #expect(space.owner(of: .environment(c)) == nil)
    #expect(space.entries(of: b).isEmpty)

    _ = try space.mint(Authority(.environment(c), [.control, .grant]), in: b)
    #expect(space.withdraw(.environment(c)).map(\.environment) == [b])
    #expect(space.withdraw(.environment(c)) == [])
    #expect(space.checkInvariants() == [])
  }

  @Test func aMovedRootTakesOwnershipAlong() throws {
    var space = try space()
    let root = try space.mint(try #require(Authority.frames(0, 2)), in: a)
    let lent = try space.grant(root, from: a, to: c, rights: .read)
    let (moved, removed) = try space.move(root, from: a, to: b)
    #expect(removed.handle == root && removed.environment == a)
    #expect(!removed.isRoot, "its frames are not to be taken from their new owner")
    #expect(holders(of: 0, [], in: space) == [b, c])
    #expect(throws: CapabilityError.stale(root, current: 2)) { try space.lookup(root, in: a) }
    #expect(space.checkInvariants() == [])
    #expect(space.removeAll(of: a).isEmpty)
    #expect(try space.lookup(lent, in: c).rights == .read)
    #expect(try space.revoke(moved, in: b).map(\.handle) == [lent])
  }

  @Test func anEndedEnvironmentKeepsNothingAndIsGivenNothing() throws {
    var space = try space()
    let own = try space.mint(try #require(Authority.frames(0, 2)), in: b)
    let ownLent = try space.grant(own, from: b, to: c, rights: .read)
    let root = try space.mint(Authority(.gate(1), [.call, .grant]), in: a)
    let borrowed = try space.grant(root, from: a, to: b, rights: [.call, .grant])
    let relent = try space.grant(borrowed, from: b, to: c, rights: .call)

    let removed = space.removeAll(of: b)
    #expect(Set(removed.map(\.handle)) == [own, ownLent, borrowed])
    #expect(removed.count == 3)
    #expect(throws: CapabilityError.noEnvironment(b)) { try space.lookup(own, in: b) }
    #expect(throws: CapabilityError.noEnvironment(b)) { try space.grant(root, from: a, to: b, rights: .call) }
    #expect(try space.lookup(relent, in: c).resource == .gate(1))
    try space.quotas.close(b)
    #expect(space.removeAll(of: b) == [])
    #expect(space.checkInvariants() == [])
  }

  @Test func aTableIsBoundedByItsQuota() throws {
    var space = try space(capabilities: 2)
    let root = try space.mint(Authority(.gate(1), [.call, .grant]), in: a)
    _ = try space.derive(root, in: a, as: Authority(.gate(1), .call))
    let full = CapabilityError.quota(.exceeded(a, .capabilities, asked: 1, available: 0))
    #expect(full.number == EXO_EDQUOT)
    #expect(throws: full) { try space.derive(root, in: a, as: Authority(.gate(1), [])) }
    #expect(throws: full) { try space.mint(Authority(.gate(2), []), in: a) }
    let other = try space.grant(root, from: a, to: b, rights: [.call, .grant])
    #expect(throws: full) { try space.grant(other, from: b, to: a, rights: .call) }
    #expect(throws: full) { try space.move(other, from: b, to: a) }
    #expect(try space.revoke(root, in: a).count == 2)
    _ = try space.derive(root, in: a, as: Authority(.gate(1), []))
    #expect(space.checkInvariants() == [])
  }

  @Test func aChildIsGivenATableOutOfItsParentsQuota() throws {
    var space = CapabilitySpace(seed: 1)
    try space.open(a, limit: Quota(capabilities: 5, environments: 1))
    try space.open(b, under: a, limit: Quota(capabilities: 4))
    _ = try space.mint(Authority(.gate(1), []), in: a)
    #expect(throws: CapabilityError.quota(.exceeded(a, .capabilities, asked: 1, available: 0))) {
      try space.mint(Authority(.gate(2), []), in: a)
    }
    #expect(throws: CapabilityError.noEnvironment(c)) {
      try space.open(EnvironmentID(9), under: c, limit: Quota())
    }
    _ = space.removeAll(of: b)
    try space.quotas.close(b)
    _ = try space.mint(Authority(.gate(2), []), in: a)
    #expect(space.checkInvariants() == [])
  }

  /// A chain as long as a hostile pair can make it, taken back and ended.
  @Test func aLongChainIsTakenBackWithoutRecursion() throws {
    let length = 100_000
    var space = CapabilitySpace(seed: 1)
    for environment in [a, b] { try space.open(environment, limit: Quota(capabilities: UInt64(length))) }
    let root = try space.mint(Authority(.gate(1), [.call, .grant]), in: a)
    for round in 1...2 {
      var (holder, handle) = (a, root)
      for _ in 0..<length {
        let next = holder == a ? b : a
        handle = try space.grant(handle, from: holder, to: next, rights: [.call, .grant])
        holder = next
      }
      let removed = round == 1 ? try space.revoke(root, in: a) : space.removeAll(of: b)
      #expect(removed.count == (round == 1 ? length : length / 2))
    }
    #expect(space.entries(of: a).count == length / 2 + 1)
    #expect(space.checkInvariants() == [])
    #expect(try space.drop(root, in: a).count == length / 2 + 1)
    #expect(space.tree.count == 0)
  }

  /// What would take quadratic time if derived capabilities moved up once for each entry they are below.
  @Test(.timeLimit(.minutes(1))) func endingABundleOnAChainTakesLinearTime() throws {
    let length = 20_000
    var space = CapabilitySpace(seed: 1)
    for environment in [a, b, c] {
      try space.open(environment, limit: Quota(capabilities: UInt64(length + 1)))
    }
    let gate = Authority(.gate(1), [.call, .grant])
    let root = try space.mint(gate, in: a)
    // Indices given back in rising order are taken in falling order: table order is youngest first.
    let early = try (0..<length).map { _ in try space.grant(root, from: a, to: b, rights: []) }
    for handle in early { _ = try space.drop(handle, in: b) }
    var own = try space.grant(root, from: a, to: b, rights: gate.rights)
    #expect(own.index == UInt32(length - 1))
    for _ in 1..<length { own = try space.derive(own, in: b, as: gate) }
    for _ in 0..<length { _ = try space.grant(own, from: b, to: c, rights: .call) }
    #expect(space.removeAll(of: b).count == length)
    #expect(space.entries(of: c).count == length)
    #expect(space.checkInvariants() == [])
    #expect(try space.revoke(root, in: a).count == length)
  }

  @Test func tenThousandEnvironmentsShareOneObject() throws {
    var space = CapabilitySpace(seed: 1)
    let everyone = (10..<10_010).map { EnvironmentID($0) }
    try space.open(a, limit: Quota(capabilities: 200_000, environments: 10_000))
    let root = try space.mint(try #require(Authority.frames(0, 512)), in: a)
    for environment in everyone {
      try space.open(environment, under: a, limit: Quota(capabilities: 4))
      _ = try space.grant(root, from: a, to: environment, rights: .read)
    }
    #expect(everyone.allSatisfy { space.holdsFrame(Frame(511), .read, in: $0) })
    #expect(try space.revoke(root, in: a).count == everyone.count)
    #expect(everyone.allSatisfy { !space.holdsFrame(Frame(511), .read, in: $0) })
    #expect(space.checkInvariants() == [])
  }

  @Test func errorsCarryTheirNumbers() {
    let handle = CapabilityHandle(index: 3, generation: 2)
    #expect(handle.rawValue == 2 << 32 | 3)
    #expect(CapabilityError.badHandle(handle).number == EXO_EBADF)
    #expect(CapabilityError.wrongKind(handle, is: .gate, wanted: .event).number == EXO_EBADF)
    #expect(CapabilityError.stale(handle, current: 3).number == EXO_ESTALE)
    #expect(CapabilityError.missingRights(handle, holds: [], wanted: .grant).number == EXO_EPERM)
    #expect(CapabilityError.noEnvironment(a).number == EXO_ENOENT)
    #expect(CapabilityError.alreadyMinted(.gate(1)).number == EXO_EEXIST)
    #expect(CapabilityError.meaninglessRights(.gate, .write).number == EXO_EINVAL)
    #expect(
      "\(CapabilityError.stale(handle, current: 3))"
        == "capability 3#2 is stale: its index is at generation 3")
  }
}
