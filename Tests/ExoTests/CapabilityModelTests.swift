import Testing

@testable import Exo

/// Random operations from several environments, on the space and on a reference that knows nothing of indices,
/// generations or links: each capability simply names the one it came from.
@Suite struct CapabilityModelTests {
  @Test(arguments: [1, 2, 3, 4]) func agreesWithTheReference(seed: UInt64) throws {
    var run = try ModelRun(seed: seed)
    for step in 0..<20_000 {
      let complaint = try run.step() ?? (step % 20 == 0 ? run.compare() : nil)
      if let complaint {
        Issue.record("seed \(seed), step \(step), \(run.operation): \(complaint)")
        return
      }
    }
    // Each kind of operation was done, and refused, often enough to mean something.
    for name in ["mint", "derive", "grant", "move", "drop", "revoke", "withdraw", "end"] {
      #expect(run.counts[name]?.done ?? 0 > 100, "\(name), seed \(seed)")
    }
    for name in ["derive", "grant", "move", "use"] {
      #expect(run.counts[name]?.refused ?? 0 > 100, "\(name), seed \(seed)")
    }
  }
}

private final class Held {
  let authority: Authority
  var environment: EnvironmentID
  var handle: CapabilityHandle
  var parent: Held?

  init(_ authority: Authority, _ environment: EnvironmentID, _ handle: CapabilityHandle, from parent: Held?) {
    self.authority = authority
    self.environment = environment
    self.handle = handle
    self.parent = parent
  }

  var removal: CapabilitySpace.Removed {
    .init(environment: environment, handle: handle, authority: authority, isRoot: parent == nil)
  }

  func comes(from other: Held) -> Bool {
    var ancestor = parent
    while let candidate = ancestor {
      if candidate === other { return true }
      ancestor = candidate.parent
    }
    return false
  }
}

private struct ModelRun: ~Copyable {
  static let limit = 24
  private let environments = (1...6).map { EnvironmentID($0) }
  private var random: CapabilityRandom
  private var space: CapabilitySpace
  private var held: [Held] = []
  /// Handles that were good once.
  private var gone: [(EnvironmentID, CapabilityHandle)] = []
  private(set) var operation = ""
  private(set) var counts: [String: (done: Int, refused: Int)] = [:]

  init(seed: UInt64) throws {
    random = CapabilityRandom(seed: seed)
    space = CapabilitySpace(seed: seed)
    for environment in environments {
      try space.open(environment, limit: Quota(capabilities: UInt64(Self.limit)))
    }
  }

  /// One operation. Returns how the space and the reference differ, if they do.
  mutating func step() throws -> String? {
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<12: return mint()
    case 12..<34: return derive()
    case 34..<64: return grant()
    case 64..<70: return move()
    case 70..<85: return drop()
    case 85..<92: return revoke()
    case 92..<94: return withdraw()
    case 94..<99: return useGone()
    default: return try end()
    }
  }

  // MARK: Operations

  private mutating func mint() -> String? {
    let (environment, authority) = (anyEnvironment(), anyAuthority())
    // Frames have one owner, which is for whoever mints to see to.
    if held.contains(where: { $0.parent == nil && $0.authority.resource.overlaps(authority.resource) }) {
      return nil
    }
    let expected: Refusal? = isFull(environment) ? .quota : nil
    return attempt("mint \(authority) in \(environment)", expected) { run throws(CapabilityError) in
      let handle = try run.space.mint(authority, in: environment)
      return run.add(Held(authority, environment, handle, from: nil))
    }
  }

  private mutating func derive() -> String? {
    guard let source = held.randomElement(using: &random) else { return nil }
    let wanted = narrowed(source.authority)
    let expected: Refusal? = !covers(source, wanted) ? .authority : isFull(source.environment) ? .quota : nil
    return attempt("derive \(wanted) from \(name(source))", expected) { run throws(CapabilityError) in
      let handle = try run.space.derive(source.handle, in: source.environment, as: wanted)
      return run.add(Held(wanted, source.environment, handle, from: source))
    }
  }

  private mutating func grant() -> String? {
    guard let source = held.randomElement(using: &random) else { return nil }
    let (receiver, wanted) = (anyEnvironment(), narrowed(source.authority))
    let mayGrant = source.authority.rights.contains(.grant) && covers(source, wanted)
    let expected: Refusal? = !mayGrant ? .authority : isFull(receiver) ? .quota : nil
    return attempt("grant \(wanted) from \(name(source)) to \(receiver)", expected) {
      run throws(CapabilityError) in
      let handle = try run.space.grant(source.handle, from: source.environment, to: receiver, as: wanted)
      return run.add(Held(wanted, receiver, handle, from: source))
    }
  }

  private mutating func move() -> String? {
    guard let source = held.randomElement(using: &random) else { return nil }
    let receiver = anyEnvironment()
    let mayGrant = source.authority.rights.contains(.grant)
    let expected: Refusal? = !mayGrant ? .authority : isFull(receiver) ? .quota : nil
    return attempt("move \(name(source)) to \(receiver)", expected) { run throws(CapabilityError) in
      let (handle, removed) = try run.space.move(source.handle, from: source.environment, to: receiver)
      var expected = source.removal
      expected.isRoot = false
      let right = removed == expected
      run.gone.append((source.environment, source.handle))
      (source.environment, source.handle) = (receiver, handle)
      return right ? nil : "reported \(removed)"
    }
  }

  private mutating func drop() -> String? {
    guard let entry = held.randomElement(using: &random) else { return nil }
    return attempt("drop \(name(entry))", nil) { run throws(CapabilityError) in
      run.agree(on: try run.space.drop(entry.handle, in: entry.environment), run.giveUp([entry]))
    }
  }

  private mutating func revoke() -> String? {
    guard let entry = held.randomElement(using: &random) else { return nil }
    return attempt("revoke \(name(entry))", nil) { run throws(CapabilityError) in
      let derived = run.held.filter { $0.comes(from: entry) }
      return run.agree(on: try run.space.revoke(entry.handle, in: entry.environment), run.forget(derived))
    }
  }

  private mutating func withdraw() -> String? {
    guard let root = held.filter({ $0.parent == nil }).randomElement(using: &random) else { return nil }
    return attempt("withdraw \(root.authority.resource)", nil) { run throws(CapabilityError) in
      run.agree(on: run.space.withdraw(root.authority.resource), run.giveUp([root]))
    }
  }

  /// An environment ends and another begins under the same number, which makes old handles of the first forged
  /// rather than stale: they are forgotten.
  private mutating func end() throws -> String? {
    let environment = anyEnvironment()
    let complaint = attempt("end \(environment)", nil) { run throws(CapabilityError) in
      let own = run.held.filter { $0.environment == environment }
      return run.agree(on: run.space.removeAll(of: environment), run.giveUp(own))
    }
    guard complaint == nil else { return complaint }
    try space.quotas.close(environment)
    try space.open(environment, limit: Quota(capabilities: UInt64(Self.limit)))
    gone.removeAll { $0.0 == environment }
    return nil
  }

  private mutating func useGone() -> String? {
    guard let (environment, handle) = gone.randomElement(using: &random) else { return nil }
    return attempt("use \(handle) of \(environment), which is gone", .stale) { run throws(CapabilityError) in
      _ = try run.space.lookup(handle, in: environment)
      return "still good"
    }
  }

  // MARK: Comparing

  /// The whole state: tables, frames covered, invariants.
  func compare() -> String? {
    let wrong = space.checkInvariants()
    if !wrong.isEmpty { return wrong.joined(separator: "; ") }
    for environment in environments {
      let own = held.filter { $0.environment == environment }
      let entries = Dictionary(
        uniqueKeysWithValues: space.entries(of: environment).map { ($0.handle, $0.authority) })
      if entries != Dictionary(uniqueKeysWithValues: own.map { ($0.handle, $0.authority) }) {
        return "\(environment) has other entries than it should"
      }
      for frame: UInt32 in 0..<16 {
        for rights in (0..<8).map(Rights.init) {
          let expected = own.contains {
            guard case .frames(let run) = $0.authority.resource else { return false }
            return run.contains(frame) && $0.authority.rights.isSuperset(of: CapabilityRights(rights))
          }
          if space.holdsFrame(Frame(frame), rights, in: environment) != expected {
            return "\(environment) \(expected ? "does not hold" : "holds") frame \(frame) \(rights)"
          }
        }
      }
    }
    for entry in held {
      let inspection = try? space.inspect(entry.handle, in: entry.environment)
      let hasDerived = held.contains { $0.parent === entry }
      if inspection != .init(authority: entry.authority, isRoot: entry.parent == nil, hasDerived: hasDerived)
      {
        return "\(name(entry)): \(inspection.map { "\($0)" } ?? "not there")"
      }
    }
    return nil
  }

  private enum Refusal { case authority, quota, stale }

  /// Runs one operation, which must be refused as expected or else do what the reference does.
  private mutating func attempt(
    _ description: String, _ expected: Refusal?, _ body: (inout ModelRun) throws(CapabilityError) -> String?
  ) -> String? {
    operation = description
    let name = String(description.prefix { $0 != " " })
    do {
      if let complaint = try body(&self) { return complaint }
      counts[name, default: (0, 0)].done += 1
      return expected == nil ? nil : "done, though it should be refused for \(expected.map { "\($0)" } ?? "")"
    } catch {
      counts[name, default: (0, 0)].refused += 1
      let refusal: Refusal? =
        switch error {
        case .missingRights, .notDominated, .wrongKind: .authority
        case .quota: .quota
        case .stale: .stale
        default: nil
        }
      return refusal != nil && refusal == expected ? nil : "refused: \(error)"
    }
  }

  // MARK: The reference

  private mutating func add(_ entry: Held) -> String? {
    held.append(entry)
    return nil
  }

  private mutating func forget(_ entries: [Held]) -> [CapabilitySpace.Removed] {
    held.removeAll { candidate in entries.contains { $0 === candidate } }
    gone += entries.map { ($0.environment, $0.handle) }
    return entries.map(\.removal)
  }

  /// What goes when some entries go: with a root all that came from it; otherwise what came from an entry stays, and
  /// names the nearest capability that stays.
  private mutating func giveUp(_ entries: [Held]) -> [CapabilitySpace.Removed] {
    let roots = entries.filter { $0.parent == nil }
    let going = held.filter { candidate in
      entries.contains { $0 === candidate } || roots.contains { candidate.comes(from: $0) }
    }
    for entry in held where !going.contains(where: { $0 === entry }) {
      while let parent = entry.parent, going.contains(where: { $0 === parent }) {
        entry.parent = parent.parent
      }
    }
    return forget(going)
  }

  private func agree(on removed: [CapabilitySpace.Removed], _ expected: [CapabilitySpace.Removed]) -> String?
  {
    Set(removed) == Set(expected) && removed.count == expected.count
      ? nil : "removed \(removed.map(\.handle)), not \(expected.map(\.handle))"
  }

  private func isFull(_ environment: EnvironmentID) -> Bool {
    held.count { $0.environment == environment } >= Self.limit
  }

  private func covers(_ entry: Held, _ wanted: Authority) -> Bool {
    let (own, part) = (entry.authority, wanted)
    guard part.rights.subtracting(own.rights).isEmpty else { return false }
    guard case .frames(let run) = own.resource, case .frames(let inner) = part.resource else {
      return own.resource == part.resource
    }
    return Set(inner.first..<inner.end).isSubset(of: Set(run.first..<run.end))
  }

  private func name(_ entry: Held) -> String { "\(entry.handle) of \(entry.environment)" }

  // MARK: Choosing

  private mutating func anyEnvironment() -> EnvironmentID {
    environments[.random(in: environments.indices, using: &random)]
  }

  private mutating func anyAuthority() -> Authority {
    let number = UInt32.random(in: 0..<3, using: &random)
    let resource: Resource
    switch Int.random(in: 0..<8, using: &random) {
    case 0: resource = .gate(number)
    case 1: resource = .event(number)
    case 2: resource = .environment(EnvironmentID(number))
    default: resource = anyFrames(0, 16)
    }
    // Mostly all rights, or nothing would be left after a few derivations.
    var rights = resource.kind.rights
    if Int.random(in: 0..<4, using: &random) == 0 { rights = anyRights(of: rights) }
    return Authority(resource, rights)
  }

  private mutating func anyFrames(_ first: UInt32, _ end: UInt32) -> Resource {
    let start = UInt32.random(in: first..<end, using: &random)
    let count = UInt32.random(in: 1...end - start, using: &random)
    return .frames(Frame(start), count: count) ?? .gate(0)
  }

  private mutating func anyRights(of rights: CapabilityRights) -> CapabilityRights {
    CapabilityRights(rawValue: rights.rawValue & UInt32.random(in: 0...UInt32.max, using: &random))
  }

  /// Usually within `authority`, sometimes beyond it.
  private mutating func narrowed(_ authority: Authority) -> Authority {
    if Int.random(in: 0..<8, using: &random) == 0 { return anyAuthority() }
    var narrower = authority
    if case .frames(let run) = authority.resource, Bool.random(using: &random) {
      narrower.resource = anyFrames(run.first, run.end)
    }
    if Int.random(in: 0..<3, using: &random) == 0 { narrower.rights = anyRights(of: authority.rights) }
    return narrower
  }
}
