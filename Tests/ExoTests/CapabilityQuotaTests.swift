import ExoABI
import Testing

@testable import Exo

@Suite struct CapabilityQuotaTests {
  private let a = EnvironmentID(1)
  private let b = EnvironmentID(2)
  private let c = EnvironmentID(3)
  private let plenty = Quota(frames: 100, capabilities: 100, bindings: 100, environments: 10, ringWork: 100)

  @Test func chargesUpToTheLimit() throws {
    var ledger = QuotaLedger()
    try ledger.open(a, limit: Quota(frames: 10))
    try ledger.charge(7, .frames, to: a)
    #expect(throws: QuotaError.exceeded(a, .frames, asked: 4, available: 3)) {
      try ledger.charge(4, .frames, to: a)
    }
    #expect(throws: QuotaError.exceeded(a, .frames, asked: .max, available: 3)) {
      try ledger.charge(.max, .frames, to: a)
    }
    #expect(throws: QuotaError.exceeded(a, .bindings, asked: 1, available: 0)) {
      try ledger.charge(1, .bindings, to: a)
    }
    try ledger.charge(3, .frames, to: a)
    #expect(throws: QuotaError.notCharged(a, .frames, released: 11, used: 10)) {
      try ledger.release(11, .frames, of: a)
    }
    try ledger.release(10, .frames, of: a)
    #expect(ledger.account(of: a)?.available(.frames) == 10)
    #expect(throws: QuotaError.noAccount(b)) { try ledger.charge(1, .frames, to: b) }
    #expect(throws: QuotaError.accountExists(a)) { try ledger.open(a, limit: plenty) }
    #expect(ledger.checkInvariants() == [])
  }

  @Test func dividesAmongChildrenAndTakesBack() throws {
    var ledger = QuotaLedger()
    try ledger.open(a, limit: plenty)
    try ledger.open(b, under: a, limit: Quota(frames: 60, environments: 4))
    #expect(ledger.account(of: a)?.available(.frames) == 40)
    #expect(ledger.account(of: a)?.available(.environments) == 5, "four given away, one for the child itself")
    #expect(throws: QuotaError.exceeded(a, .frames, asked: 41, available: 40)) {
      try ledger.open(c, under: a, limit: Quota(frames: 41))
    }
    #expect(throws: QuotaError.exceeded(a, .environments, asked: 5, available: 5)) {
      try ledger.open(c, under: a, limit: Quota(environments: 5))
    }
    #expect(throws: QuotaError.exceeded(a, .environments, asked: .max, available: 5)) {
      try ledger.open(c, under: a, limit: Quota(environments: .max))
    }
    try ledger.charge(1, .frames, to: b)
    #expect(throws: QuotaError.stillCharged(b, .frames, used: 1)) { try ledger.close(b) }
    try ledger.release(1, .frames, of: b)
    try ledger.close(b)
    for kind in QuotaKind.allCases { #expect(ledger.account(of: a)?.available(kind) == plenty[kind]) }
    #expect(ledger.checkInvariants() == [])
  }

  @Test func childrenOfAnEndedParentCountAsTheGrandparents() throws {
    var ledger = QuotaLedger()
    try ledger.open(a, limit: plenty)
    try ledger.open(b, under: a, limit: Quota(frames: 60, environments: 4))
    try ledger.open(c, under: b, limit: Quota(frames: 20, environments: 1))
    try ledger.charge(5, .frames, to: c)
    try ledger.close(b)
    #expect(ledger.checkInvariants() == [])
    #expect(ledger.account(of: c)?.parent == a)
    #expect(ledger.account(of: a)?.available(.frames) == 80)
    #expect(ledger.account(of: a)?.available(.environments) == 8)
    try ledger.close(a)
    #expect(ledger.account(of: c)?.parent == nil)
    #expect(ledger.checkInvariants() == [])
  }

  /// A random family: whatever is opened, charged and closed, it never consumes more than its first member was given.
  @Test(arguments: [1, 2, 3]) func sumsHoldThroughRandomFamilies(seed: UInt64) throws {
    var random = CapabilityRandom(seed: seed)
    var ledger = QuotaLedger()
    let first = EnvironmentID(0)
    try ledger.open(first, limit: plenty)
    var alive = [first]
    var charged: [EnvironmentID: UInt64] = [first: 0]
    for step in 1...5000 {
      let environment = alive[.random(in: alive.indices, using: &random)]
      let amount = UInt64.random(in: 0..<12, using: &random)
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<3:
        let child = EnvironmentID(UInt32(step))
        let limit = Quota(frames: amount * 2, environments: amount / 3)
        guard (try? ledger.open(child, under: environment, limit: limit)) != nil else { continue }
        alive.append(child)
        charged[child] = 0
      case 3..<6:
        if (try? ledger.charge(amount, .frames, to: environment)) != nil {
          charged[environment, default: 0] += amount
        }
      case 6..<8:
        if (try? ledger.release(amount, .frames, of: environment)) != nil {
          charged[environment, default: 0] -= amount
        }
      default:
        guard environment != first else { continue }
        try ledger.release(charged[environment] ?? 0, .frames, of: environment)
        try ledger.close(environment)
        alive.removeAll { $0 == environment }
        charged[environment] = nil
      }
      let wrong = ledger.checkInvariants()
      let consumed = charged.values.reduce(0, +)
      let used = ledger.account(of: environment)?.used.frames
      guard wrong.isEmpty, consumed <= plenty.frames, alive.count <= 11, used == charged[environment] else {
        Issue.record("seed \(seed), step \(step): \(wrong), \(consumed) frames, \(alive.count) environments")
        return
      }
    }
  }

  @Test func errorsCarryTheirNumbers() {
    #expect(QuotaError.exceeded(a, .frames, asked: 1, available: 0).number == EXO_EDQUOT)
    #expect(QuotaError.noAccount(a).number == EXO_ENOENT)
    #expect("\(Quota(frames: 3, ringWork: 2))" == "3 frames, 2 ring work")
  }
}
