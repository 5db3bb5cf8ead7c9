/// What one environment may consume, and where it went.
struct QuotaAccount: Sendable {
  fileprivate(set) var limit: Quota
  fileprivate(set) var used = Quota()
  /// Given away to children, until they end.
  fileprivate(set) var delegated = Quota()
  /// Whose limit this one was taken from. `nil`: the machine's.
  fileprivate(set) var parent: EnvironmentID?
  fileprivate(set) var children: Set<EnvironmentID> = []

  fileprivate init(limit: Quota, parent: EnvironmentID?) {
    self.limit = limit
    self.parent = parent
  }

  func available(_ kind: QuotaKind) -> UInt64 { limit[kind] - used[kind] - delegated[kind] }
}

/// The quotas of a machine. An environment divides what it has left among the environments it creates and has it back
/// when they end, so a whole family together consumes no more than its first member was given.
///
///     limit = used + delegated + available        delegated = sum of the children's limits
///
/// Each child also uses one of its parent's `environments`. Where a parent ends first its children count as its own
/// parent's, which then has back what the parent had not given them.
struct QuotaLedger {
  private var accounts: [EnvironmentID: QuotaAccount] = [:]

  func account(of environment: EnvironmentID) -> QuotaAccount? { accounts[environment] }

  /// Opens an account that no other environment pays for.
  mutating func open(_ environment: EnvironmentID, limit: Quota) throws(QuotaError) {
    guard accounts[environment] == nil else { throw .accountExists(environment) }
    accounts[environment] = QuotaAccount(limit: limit, parent: nil)
  }

  /// Opens an account with part of what `parent` has left, and charges the parent for one environment.
  mutating func open(_ environment: EnvironmentID, under parent: EnvironmentID, limit: Quota)
    throws(QuotaError)
  {
    guard accounts[environment] == nil else { throw .accountExists(environment) }
    guard let account = accounts[parent] else { throw .noAccount(parent) }
    for kind in QuotaKind.allCases {
      let available = account.available(kind)
      let itself: UInt64 = kind == .environments ? 1 : 0
      guard limit[kind] <= available, available - limit[kind] >= itself else {
        throw .exceeded(parent, kind, asked: limit[kind], available: available)
      }
    }
    accounts[environment] = QuotaAccount(limit: limit, parent: parent)
    adopt(environment, limit, by: parent)
  }

  /// Closes an account that is charged for nothing but environments it created. Its limit goes back to where it came
  /// from, save what its children have.
  mutating func close(_ environment: EnvironmentID) throws(QuotaError) {
    guard let account = accounts[environment] else { throw .noAccount(environment) }
    for kind in QuotaKind.allCases {
      let children = kind == .environments ? UInt64(account.children.count) : 0
      guard account.used[kind] == children else {
        throw .stillCharged(environment, kind, used: account.used[kind])
      }
    }
    accounts[environment] = nil
    if let parent = account.parent { release(environment, account.limit, by: parent) }
    for child in account.children {
      accounts[child]?.parent = account.parent
      if let parent = account.parent, let limit = accounts[child]?.limit { adopt(child, limit, by: parent) }
    }
  }

  mutating func charge(_ amount: UInt64, _ kind: QuotaKind, to environment: EnvironmentID) throws(QuotaError)
  {
    guard let place = accounts.index(forKey: environment) else { throw .noAccount(environment) }
    let available = accounts.values[place].available(kind)
    guard amount <= available else {
      throw .exceeded(environment, kind, asked: amount, available: available)
    }
    accounts.values[place].used[kind] += amount
  }

  mutating func release(_ amount: UInt64, _ kind: QuotaKind, of environment: EnvironmentID) throws(QuotaError)
  {
    guard let place = accounts.index(forKey: environment) else { throw .noAccount(environment) }
    let used = accounts.values[place].used[kind]
    guard amount <= used else { throw .notCharged(environment, kind, released: amount, used: used) }
    accounts.values[place].used[kind] -= amount
  }

  /// Takes part of what an account has left, for good: it is its parent's again.
  mutating func shrink(_ environment: EnvironmentID, by amount: UInt64, _ kind: QuotaKind) {
    guard let account = accounts[environment], amount <= account.available(kind) else { return }
    accounts[environment]?.limit[kind] -= amount
    if let parent = account.parent { accounts[parent]?.delegated[kind] -= amount }
  }

  private mutating func adopt(_ child: EnvironmentID, _ limit: Quota, by parent: EnvironmentID) {
    for kind in QuotaKind.allCases { accounts[parent]?.delegated[kind] += limit[kind] }
    accounts[parent]?.used.environments += 1
    accounts[parent]?.children.insert(child)
  }

  private mutating func release(_ child: EnvironmentID, _ limit: Quota, by parent: EnvironmentID) {
    for kind in QuotaKind.allCases { accounts[parent]?.delegated[kind] -= limit[kind] }
    accounts[parent]?.used.environments -= 1
    accounts[parent]?.children.remove(child)
  }

  /// Each way in which the sums above do not hold; empty when all is well.
  func checkInvariants() -> [String] {
    var wrong: [String] = []
    for (environment, account) in accounts {
      let children = account.children.compactMap { accounts[$0] }
      if children.count != account.children.count { wrong.append("\(environment): a child has no account") }
      if children.contains(where: { $0.parent != environment }) {
        wrong.append("\(environment): a child has another parent")
      }
      if let parent = account.parent, accounts[parent]?.children.contains(environment) != true {
        wrong.append("\(environment): \(parent) does not know it as its child")
      }
      if account.used.environments < UInt64(children.count) {
        wrong.append("\(environment): charged for \(account.used.environments) of \(children.count) children")
      }
      for kind in QuotaKind.allCases {
        let given = children.reduce(0) { $0 + $1.limit[kind] }
        if given != account.delegated[kind] {
          wrong.append("\(environment): delegated \(account.delegated[kind]) \(kind), children have \(given)")
        }
        let (sum, overflow) = account.used[kind].addingReportingOverflow(account.delegated[kind])
        if overflow || sum > account.limit[kind] {
          wrong.append("\(environment): over its limit of \(account.limit[kind]) \(kind)")
        }
      }
    }
    return wrong
  }
}
