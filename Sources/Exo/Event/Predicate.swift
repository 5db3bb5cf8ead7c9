import CKVM
import ExoABI
import Synchronization

/// A wakeup predicate, as in Xok (Kaashoek et al., SOSP 1997): a verified condition over words of an environment's own page and
/// the clock. A sleeping environment wakes when it holds. It may lie to nobody but the environment that bound it.
struct Predicate: Hashable, Sendable {
  /// What the rule is told: the monotonic clock in nanoseconds, and how many events have not been taken.
  static let inputs = 2

  let rule: Rule
  /// The page, guaranteed while this is bound, and its frame: the window of the rule.
  let page: GuestAddress
  let frame: Frame

  func holds(at now: UInt64, events: UInt32, in memory: PhysicalMemory) -> Bool {
    rule.evaluate(inputs: [now, UInt64(events)]) { offset in
      guard offset >= 0, offset <= 4096 - 8, offset & 7 == 0 else { return nil }
      return memory.load(PhysicalAddress(frame.address.value + UInt64(offset)))
    } != 0
  }
}

extension Kernel {
  /// Binds a predicate, or unbinds the one there is. It is one binding of the environment's quota.
  mutating func bindPredicate(
    ruleAt address: GuestAddress, length: Int, page: GuestAddress, in id: EnvironmentID
  ) throws(Refusal) -> Predicate? {
    guard let domain = domains[id] else { throw .absent }
    guard length > 0 else {
      guard let old = domain.predicate else { throw .absent }
      unpin(old.page, pages: 1, in: domain)
      releaseBindings(1, of: id)
      domains[id]?.predicate = nil
      return nil
    }
    var program: [UInt8] = []
    guard domain.shell.space.copyIn(address, count: length, memory: memory, to: &program) else {
      throw .badAddress
    }
    let rule: Rule
    do { rule = try Rule(program, inputs: Predicate.inputs) } catch { throw .invalid }
    try requireOwned(page, pages: 1, in: id)
    guard let frame = frame(at: domain.shell.space.entry(of: page, in: memory).address) else { throw .absent }
    if domain.predicate == nil { try chargeBindings(1, to: id) }
    pin(page, pages: 1, in: domain)
    if let old = domain.predicate { unpin(old.page, pages: 1, in: domain) }
    let predicate = Predicate(rule: rule, page: page, frame: frame)
    domains[id]?.predicate = predicate
    return predicate
  }
}

extension Environment {
  func setPredicate(_ new: Predicate?) {
    predicate.withLock { $0 = new }
    hasPredicate.store(new != nil, ordering: .sequentiallyConsistent)
    machine.service.notify()
  }

  /// Whether its predicate holds. Never once its end was requested: the page may be another's.
  func predicateHolds(at now: UInt64) -> Bool {
    guard hasPredicate.load(ordering: .relaxed) else { return false }
    return predicate.withLock { predicate in
      guard let predicate, !endRequested.load(ordering: .sequentiallyConsistent) else { return false }
      let pending = events.withLock { $0.pending(in: machine.memory) }
      return predicate.holds(at: now, events: pending, in: machine.memory)
    }
  }

  /// Called by whoever looks at sleepers.
  func wakeIfPredicateHolds(at now: UInt64) {
    guard hasPredicate.load(ordering: .relaxed), isWaiting.load(ordering: .relaxed), predicateHolds(at: now)
    else { return }
    predicateMet.store(true, ordering: .sequentiallyConsistent)
    processor.wake(self)
  }
}
