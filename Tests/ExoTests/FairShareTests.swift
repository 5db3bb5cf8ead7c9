import Testing

@testable import Exo

@Suite struct FairShareTests {
  /// Environments that share one processor: some compute, one sleeps, works for so long and sleeps again. Nanoseconds.
  private struct Company {
    var share = FairShare()
    let computing: [EnvironmentID]
    let sleeper = EnvironmentID(100)
    var had: [EnvironmentID: UInt64] = [:]
    /// From waking to running.
    var waits: [UInt64] = []
    static let turn: UInt64 = 10_000_000

    init(computing count: Int) {
      computing = (1...count).map { EnvironmentID(UInt32($0)) }
      for id in computing { share.join(id, wakes: false) }
    }

    mutating func run(until end: UInt64, sleeping pause: UInt64, working: UInt64) {
      var (now, wakesAt, left) = (0 as UInt64, pause, working)
      var sleeps = true
      while now < end {
        if sleeps, now >= wakesAt {
          share.join(sleeper, wakes: true)
          sleeps = false
        }
        let id = share.next(among: sleeps ? computing : computing + [sleeper])!
        var length = Self.turn
        if id == sleeper {
          if now >= wakesAt, left == working { waits.append(now - wakesAt) }
          length = min(length, left)
          left -= length
          if left == 0 {
            (sleeps, left, wakesAt) = (true, working, now + length + pause)
          }
        } else if sleeps, wakesAt < now + length {
          share.join(sleeper, wakes: true)
          sleeps = false
          // As of its turn's beginning, but not before the other has woken.
          length = min(
            length,
            max(wakesAt - now, share.turn(of: id, beside: sleeper, among: computing.filter { $0 != id })))
        }
        share.charge(length, to: id)
        had[id, default: 0] += length
        now += length
      }
    }
  }

  /// However many compute, one that works little is not kept waiting by them.
  @Test(arguments: [1, 9, 100]) func whoSleepsMostlyRunsSoon(others: Int) {
    var company = Company(computing: others)
    company.run(until: 10_000_000_000, sleeping: 20_000_000, working: 50_000)
    #expect(company.waits.count > 400)
    #expect(company.waits.allSatisfy { $0 <= FairShare.least })
  }

  /// But to wake often is no way to have more than one's share.
  @Test(arguments: [1_000 as UInt64, 100_000, 3_000_000]) func wakingOftenGainsNothing(pause: UInt64) {
    var company = Company(computing: 9)
    company.run(until: 20_000_000_000, sleeping: pause, working: 5_000_000)
    let most = company.computing.compactMap { company.had[$0] }.max() ?? 0
    #expect(company.had[company.sleeper, default: 0] <= most + 2 * Company.turn)
    let least = company.computing.compactMap { company.had[$0] }.min() ?? 0
    #expect(most - least <= 2 * Company.turn)
  }

  /// Sleep is not saved up.
  @Test func whoHasSleptLongHasNoClaimToIt() {
    var share = FairShare()
    let (computes, sleeps) = (EnvironmentID(1), EnvironmentID(2))
    share.join(computes, wakes: true)
    share.join(sleeps, wakes: true)
    for _ in 0..<1000 {
      _ = share.next(among: [computes])
      share.charge(Company.turn, to: computes)
    }
    share.join(sleeps, wakes: true)
    #expect(share.next(among: [sleeps, computes]) == sleeps)
    share.charge(2 * Company.turn, to: sleeps)
    #expect(share.next(among: [sleeps, computes]) == computes)
  }

  @Test func whoYieldsComesAfterAllThatWait() {
    var share = FairShare()
    let ids = (1...4).map { EnvironmentID(UInt32($0)) }
    for id in ids {
      share.join(id, wakes: false)
      share.charge(UInt64(id.number) * 1000, to: id)
    }
    #expect(share.next(among: ids) == ids[0])
    share.yield(ids[0], to: ids.dropFirst())
    #expect(share.next(among: ids[1...] + [ids[0]]) == ids[1])
    #expect(share.next(among: [ids[3], ids[0]]) == ids[3])
  }

  @Test func nothingIsKeptOfTheForgotten() {
    var share = FairShare()
    share.join(EnvironmentID(1), wakes: true)
    share.charge(5, to: EnvironmentID(1))
    share.forget(EnvironmentID(1))
    share.charge(5, to: EnvironmentID(1))
    #expect(share.had(by: EnvironmentID(1)) == 0)
  }
}
