import Testing

/// The handshake between an environment that submits and a service thread that goes to sleep, step by step, on a
/// processor that keeps stores back until they are fenced (x86-TSO: Owens, Sarkar, Sewell 2009).
///
///     environment: sequence = n | fence | read status | ring if asleep | wait for completion n
///     service:     look at sequence | status = asleep | fence | look again | sleep until rung |
///                  drain the bell | status = polled | look
struct HandshakeModel {
  /// The protocol as it is; each part may be left out to see that it is needed.
  struct Parts {
    var environmentFences = true
    var serviceFences = true
    var looksAgain = true
    var drainsBeforeLooking = true
  }
  enum EnvironmentStep: Hashable { case submit, fence, readStatus, ring, wait, done }
  enum ServiceStep: Hashable { case look, announce, fence, lookAgain, sleep, drain, polled }
  enum Cell: Hashable { case sequence, completion, status }
  struct Store: Hashable {
    var cell: Cell
    var value: Int
  }

  struct State: Hashable {
    var sequence = 0
    var completion = 0
    /// 0 polled, 1 asleep.
    var status = 0
    var bell = false
    var environment = EnvironmentStep.submit
    var service = ServiceStep.look
    var environmentStores: [Store] = []
    var serviceStores: [Store] = []
    var submitted = 0
    var served = 0

    mutating func commit(_ store: Store) {
      switch store.cell {
      case .sequence: sequence = store.value
      case .completion: completion = store.value
      case .status: status = store.value
      }
    }
  }

  var parts = Parts()
  var requests = 3

  func steps(_ state: State) -> [State] {
    environmentSteps(state) + serviceSteps(state) + flushes(state)
  }

  private func flushes(_ state: State) -> [State] {
    var found: [State] = []
    if let store = state.environmentStores.first {
      var next = state
      next.environmentStores.removeFirst()
      next.commit(store)
      found.append(next)
    }
    if let store = state.serviceStores.first {
      var next = state
      next.serviceStores.removeFirst()
      next.commit(store)
      found.append(next)
    }
    return found
  }

  private func environmentSteps(_ state: State) -> [State] {
    var next = state
    switch state.environment {
    case .submit:
      next.submitted += 1
      next.environmentStores.append(Store(cell: .sequence, value: next.submitted))
      next.environment = parts.environmentFences ? .fence : .readStatus
    case .fence:
      guard state.environmentStores.isEmpty else { return [] }
      next.environment = .readStatus
    case .readStatus: next.environment = state.status == 1 ? .ring : .wait
    case .ring:
      // A device store drains what was stored before it.
      guard state.environmentStores.isEmpty else { return [] }
      next.bell = true
      next.environment = .wait
    case .wait:
      guard state.completion >= state.submitted else { return [] }
      next.environment = state.submitted == requests ? .done : .submit
    case .done: return []
    }
    return [next]
  }

  private func serviceSteps(_ state: State) -> [State] {
    var next = state
    let hasWork = state.sequence > state.served
    func serve() {
      next.served += 1
      next.serviceStores.append(Store(cell: .completion, value: next.served))
    }
    switch state.service {
    case .look:
      if hasWork { serve() } else { next.service = .announce }
    case .announce:
      next.serviceStores.append(Store(cell: .status, value: 1))
      next.service = parts.serviceFences ? .fence : .lookAgain
    case .fence:
      guard state.serviceStores.isEmpty else { return [] }
      next.service = .lookAgain
    case .lookAgain:
      if parts.looksAgain, hasWork {
        serve()
        next.service = .polled
      } else {
        next.service = .sleep
      }
    case .sleep:
      // A system call drains the stores.
      guard state.bell, state.serviceStores.isEmpty else { return [] }
      next.service = parts.drainsBeforeLooking ? .drain : .polled
    case .drain:
      next.bell = false
      next.service = .polled
    case .polled:
      next.serviceStores.append(Store(cell: .status, value: 0))
      if !parts.drainsBeforeLooking { next.bell = false }
      next.service = .look
    }
    return [next]
  }

  var explored: Explorer<State> {
    Explorer(from: State(), steps: steps, isFinal: { $0.environment == .done })
  }
}

@Suite struct RingHandshakeTests {
  @Test func noWakeUpIsLost() {
    let explored = HandshakeModel(requests: 4).explored
    #expect(explored.stuck.isEmpty)
    #expect(explored.reached.count > 300)
    #expect(explored.reached.contains { $0.service == .sleep && !$0.bell })
    #expect(explored.reached.allSatisfy { $0.served <= $0.submitted && $0.completion <= $0.served })
  }

  /// Without any one of its parts, the model finds the environment waiting for a service that sleeps.
  @Test func eachPartIsNeeded() {
    let without: [(String, HandshakeModel.Parts)] = [
      ("the environment's fence", .init(environmentFences: false)),
      ("the service's fence", .init(serviceFences: false)),
      ("the second look", .init(looksAgain: false)),
    ]
    for (name, parts) in without {
      #expect(!HandshakeModel(parts: parts).explored.stuck.isEmpty, "not needed: \(name)")
    }
  }
}

/// An environment going to sleep for a completion on its processor, while the service posts it and, perhaps, somebody
/// ends the environment (`Processor.putToSleep`, `completionPosted`, `wake`). All of it sequentially consistent.
struct SleepModel {
  enum Sleeper: Hashable { case lock, announce, look, asleep, awake }
  enum Waker: Hashable { case store, look, lock, decide, done }

  struct State: Hashable {
    var posted = false
    var endRequested = false
    var isWaiting = false
    /// `Scheduling.state` is `.waiting`.
    var waiting = false
    var locked = false
    /// How often it was put on the run queue.
    var enqueued = 0
    var sleeper = Sleeper.lock
    var poster = Waker.store
    var killer = Waker.store
  }

  var announcesFirst = true

  func steps(_ state: State) -> [State] {
    sleeperSteps(state) + wakerSteps(state, \.poster) + wakerSteps(state, \.killer)
  }

  private func sleeperSteps(_ state: State) -> [State] {
    var next = state
    let reason = state.posted || state.endRequested
    switch state.sleeper {
    case .lock:
      guard !state.locked else { return [] }
      next.locked = true
      next.sleeper = announcesFirst ? .announce : .look
    case .announce:
      next.isWaiting = true
      next.sleeper = announcesFirst ? .look : .asleep
      if !announcesFirst {
        next.waiting = true
        next.locked = false
      }
    case .look:
      if reason {
        next.isWaiting = false
        next.locked = false
        next.sleeper = .awake
      } else if announcesFirst {
        next.waiting = true
        next.locked = false
        next.sleeper = .asleep
      } else {
        next.sleeper = .announce
      }
    case .asleep:
      guard state.enqueued > 0 else { return [] }
      next.sleeper = .awake
    case .awake: return []
    }
    return [next]
  }

  private func wakerSteps(_ state: State, _ waker: WritableKeyPath<State, Waker>) -> [State] {
    var next = state
    switch state[keyPath: waker] {
    case .store:
      if waker == \.poster { next.posted = true } else { next.endRequested = true }
      // Whoever ends it does not look at `isWaiting` first.
      next[keyPath: waker] = waker == \.poster ? .look : .lock
    case .look: next[keyPath: waker] = state.isWaiting ? .lock : .done
    case .lock:
      guard !state.locked else { return [] }
      next.locked = true
      next[keyPath: waker] = .decide
    case .decide:
      if state.waiting {
        next.waiting = false
        next.isWaiting = false
        next.enqueued += 1
      }
      next.locked = false
      next[keyPath: waker] = .done
    case .done: return []
    }
    return [next]
  }
}

@Suite struct RingSleepTests {
  @Test func sleeperIsAlwaysWokenOnce() {
    let model = SleepModel()
    let explored = Explorer(from: SleepModel.State(), steps: model.steps) {
      $0.sleeper == .awake && $0.poster == .done && $0.killer == .done
    }
    #expect(explored.stuck.isEmpty)
    #expect(explored.reached.allSatisfy { $0.enqueued <= 1 })
    #expect(explored.reached.contains { $0.enqueued == 1 })
  }

  /// Even if nobody ends it: the completion alone wakes it.
  @Test func completionAloneWakes() {
    let model = SleepModel()
    var start = SleepModel.State()
    start.killer = .done
    let explored = Explorer(from: start, steps: model.steps) { $0.sleeper == .awake && $0.poster == .done }
    #expect(explored.stuck.isEmpty)
  }

  @Test func announcementMustComeFirst() {
    let model = SleepModel(announcesFirst: false)
    var start = SleepModel.State()
    start.killer = .done
    let explored = Explorer(from: start, steps: model.steps) { $0.sleeper == .awake }
    #expect(!explored.stuck.isEmpty)
  }
}
