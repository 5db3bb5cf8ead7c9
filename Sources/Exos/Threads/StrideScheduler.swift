import LibOS

/// The paper's stride scheduler: it owns slices and gives each to the environment whose turn it is by tickets. The core is
/// this queue; what stands below hands slices over.
public struct StrideQueue: Sendable {
  private struct Client {
    var tickets: UInt64
    var pass: UInt64 = 0
    var used: UInt64 = 0
  }
  private var clients: [Client] = []
  /// What one ticket's nanosecond moves a pass on by.
  private static var unit: UInt64 { 1 << 20 }

  public init() {}

  /// Adds a client, which begins where the others are; its number.
  public mutating func add(tickets: UInt64) -> Int {
    clients.append(Client(tickets: max(1, tickets), pass: clients.map { $0.pass }.min() ?? 0))
    return clients.count - 1
  }

  /// Who is to run: the one that is furthest behind its share. Nil without clients that may.
  public func next(_ mayRun: (Int) -> Bool = { _ in true }) -> Int? {
    var best: Int?
    for index in clients.indices where mayRun(index) {
      if best.map({ clients[index].pass < clients[$0].pass }) ?? true { best = index }
    }
    return best
  }

  /// A client ran for so long.
  public mutating func charge(_ client: Int, nanoseconds: UInt64) {
    clients[client].pass += nanoseconds * Self.unit / clients[client].tickets
    clients[client].used += nanoseconds
  }

  public func used(_ client: Int) -> UInt64 { clients[client].used }

  /// How far a client is from its share of what all have had, in nanoseconds.
  public func error(of client: Int) -> UInt64 {
    let tickets = clients.reduce(0) { $0 + $1.tickets }
    let ideal = clients.reduce(0) { $0 + $1.used } / tickets * clients[client].tickets
    let used = clients[client].used
    return used > ideal ? used - ideal : ideal - used
  }
}

#if hasFeature(Embedded)
  /// Environments that run by tickets, in the slices of the one that calls this. All but the chosen one are stopped, so that
  /// time which belongs to nobody comes to the right one too, and is charged to it.
  public struct StrideScheduler {
    public private(set) var queue = StrideQueue()
    private var environments: [Environment] = []

    public init() {}

    /// Takes an environment over that has been started.
    public mutating func add(_ environment: Environment, tickets: UInt64) throws(ExocallError) -> Int {
      try environment.stop()
      environments.append(environment)
      return queue.add(tickets: tickets)
    }

    /// Gives the rest of this slice to whose turn it is, and charges it what it has had until this environment runs again.
    /// - Returns: its number and its nanoseconds; nil if there is nobody.
    public mutating func turn(_ mayRun: (Int) -> Bool = { _ in true }) throws(ExocallError) -> (Int, UInt64)?
    {
      guard let chosen = queue.next(mayRun) else { return nil }
      let began = Clock.now
      try environments[chosen].resume()
      Slices.yield(to: environments[chosen])
      try environments[chosen].stop()
      let length = Clock.now - began
      queue.charge(chosen, nanoseconds: length)
      return (chosen, length)
    }
  }
#endif
