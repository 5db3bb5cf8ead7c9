import Synchronization

/// The rings that the service thread polls, in a form that a look at all of them costs little: nothing is locked and no
/// reference counted where nobody has submitted anything.
struct PolledRings {
  private struct Ring {
    // Invariant: `environments` holds the same environment at the same index.
    private let reference: Unmanaged<Environment>
    var look: RingLook
    /// The number of the sleep in which a look found nothing, 0 for none.
    var quiet: UInt64 = 0

    init(_ environment: Environment) {
      unsafe reference = Unmanaged.passUnretained(environment)
      look = environment.ring.withLock { $0.look }
    }
    /// Without a count of it going up and down, which would be two locked instructions for each look.
    @inline(__always)
    func withEnvironment<R>(_ body: (Environment) -> R) -> R {
      unsafe reference._withUnsafeGuaranteedRef { body($0) }
    }
  }
  private var environments: [Environment] = []
  private var rings: [Ring] = []

  init(_ environments: [Environment] = []) { add(environments) }

  mutating func add(_ new: [Environment]) {
    environments += new
    rings += new.map { Ring($0) }
  }

  /// Serves every ring once; returns whether there was anything. One that sleeps can submit nothing: after a look that
  /// found nothing it is passed over for as long as it sleeps the same sleep.
  mutating func serve() -> Bool {
    var worked = false
    var index = 0
    while index < rings.count {
      if rings[index].look.hasWork {
        let (served, look) = rings[index].withEnvironment { $0.serveRing() }
        rings[index].look = look
        rings[index].quiet = 0
        if served { worked = true }
      } else if rings[index].withEnvironment({ $0.isWaiting.load(ordering: .acquiring) }) {
        let sleep = rings[index].withEnvironment { $0.sleepNumber.load(ordering: .acquiring) }
        if rings[index].quiet == sleep, Self.forget(environments[index], in: sleep) {
          environments.swapAt(index, environments.count - 1)
          environments.removeLast()
          rings.swapAt(index, rings.count - 1)
          rings.removeLast()
          continue
        }
        rings[index].quiet = sleep
      }
      index += 1
    }
    return worked
  }

  /// Passes over an environment from now on, if it is still in that sleep. In another one it may have submitted something between
  /// the look that found nothing and now.
  private static func forget(_ environment: Environment, in sleep: UInt64) -> Bool {
    environment.isPolled.store(false, ordering: .sequentiallyConsistent)
    if environment.isWaiting.load(ordering: .sequentiallyConsistent),
      environment.sleepNumber.load(ordering: .sequentiallyConsistent) == sleep
    {
      return true
    }
    // It has woken. Whoever sets it first sees to it.
    return environment.isPolled.exchange(true, ordering: .sequentiallyConsistent)
  }
}
