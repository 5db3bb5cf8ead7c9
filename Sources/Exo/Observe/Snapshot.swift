import CKVM
import ExoABI

/// A machine at one moment. Environments are looked at one after the other: figures of two need not fit together.
public struct MachineSnapshot: Sendable {
  /// Monotonic nanoseconds of the host.
  public var time: UInt64
  /// Since the machine was made.
  public var age: Duration
  public var framesTotal: Int
  public var framesFree: Int
  public var processors: Int
  /// Environments made so far, those that have ended included.
  public var made: Int
  /// Those that live, and those that have ended and whose owner still holds the capability.
  public var environments: [EnvironmentSnapshot]
}

/// An environment at one moment. Counts and times are since it was made.
public struct EnvironmentSnapshot: Sendable {
  public enum State: String, CaseIterable, Sendable {
    case created, running, runnable, sleeping, stopped, ended
  }
  public var id: EnvironmentID
  public var name: String
  /// Who made it, if an environment did.
  public var creator: EnvironmentID?
  public var state: State
  /// The number of its processor.
  public var processor: Int
  /// It had the processor for so long, the present time included.
  public var processorTime: Duration
  /// Of that in guest mode, up to its last exit.
  public var timeInGuest: Duration
  public var exits: UInt64
  /// Times it got the processor.
  public var slices: UInt64
  /// Slots of its processor's slice vector that are bound to it.
  public var slots: Int
  /// Time it took beyond its slices, all told, and what it still owes of that.
  public var excess: Duration
  public var debt: Duration
  /// Frames it holds, tables and kit counted; the most it held; and how many its quota allows.
  public var frames: Int
  public var framesPeak: Int
  public var framesLimit: UInt64
  /// Exceptions that reached the exokernel. What a direct gate delivers runs no exokernel code and is not counted.
  public var faults: UInt64
  /// Exocalls answered or accepted, and those of them that were refused.
  public var exocalls: UInt64
  public var refused: UInt64
  /// Events posted to it, those its ring had no room for, and those of them that asked resources back.
  public var events: UInt64
  public var eventsLost: UInt64
  public var revocations: UInt64
}

extension Machine {
  /// What everyone has and does now. Takes each lock for a moment.
  public func snapshot() -> MachineSnapshot {
    let (environments, made) = living
    let now = ckvm_monotonic()
    var snapshot = withKernel { kernel in
      MachineSnapshot(
        time: now, age: .nanoseconds(Int64(clamping: now &- birth)), framesTotal: kernel.frames.count,
        framesFree: kernel.frames.freeCount, processors: processors.count, made: made, environments: [])
    }
    let vectors = processors.map(\.slices)
    // A few at a time: the lock is everybody's.
    for start in stride(from: 0, to: environments.count, by: 64) {
      let some = environments[start..<min(start + 64, environments.count)]
      let frames = withKernel { kernel in
        some.map { environment -> (held: Int, peak: Int, limit: UInt64) in
          guard let domain = kernel.domains[environment.id] else { return (0, 0, 0) }
          let limit = kernel.capabilities.quotas.account(of: environment.id)?.limit[.frames] ?? 0
          return (domain.framesHeld, domain.framesPeak, limit)
        }
      }
      for (environment, frames) in zip(some, frames) {
        snapshot.environments.append(environment.snapshot(frames, vectors[environment.processor.number]))
      }
    }
    return snapshot
  }
}

extension Environment {
  fileprivate func snapshot(_ frames: (held: Int, peak: Int, limit: UInt64), _ vector: SliceVector)
    -> EnvironmentSnapshot
  {
    let counts = statistics.snapshot
    let events = events.withLock { (counts: $0.counts, lost: $0.lost) }
    let turn = turnBegan.load(ordering: .relaxed)
    let now = ckvm_monotonic()
    let present = turn != 0 && now > turn ? now - turn : 0
    return EnvironmentSnapshot(
      id: id, name: name, creator: creatorID, state: observedState(hasProcessor: turn != 0),
      processor: processor.number,
      processorTime: .nanoseconds(Int64(clamping: counts.turnNanoseconds &+ present)),
      timeInGuest: .nanoseconds(Int64(clamping: counts.guestNanoseconds)), exits: counts.exits,
      slices: counts.turns, slots: vector.slots.count { $0 == id },
      excess: .nanoseconds(Int64(clamping: counts.excessNanoseconds)),
      debt: .nanoseconds(Int64(clamping: vector.excess[id] ?? 0)), frames: frames.held,
      framesPeak: max(frames.peak, counts.framesPeak), framesLimit: frames.limit, faults: counts.faults,
      exocalls: ring.withLock { $0.taken }, refused: statistics.exocalls.refused,
      events: events.counts.reduce(0, +), eventsLost: UInt64(events.lost),
      revocations: events.counts[Int(Event.Kind.revocation.rawValue)])
  }

  private func observedState(hasProcessor: Bool) -> EnvironmentSnapshot.State {
    scheduling.withLock {
      switch $0.state {
      case .created: .created
      case .runnable where $0.stopRequested, .waiting where $0.stopRequested: .stopped
      case .runnable: hasProcessor ? .running : .runnable
      case .waiting: .sleeping
      case .stopped: .stopped
      case .ended: .ended
      }
    }
  }
}
