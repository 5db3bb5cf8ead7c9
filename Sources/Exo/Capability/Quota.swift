import ExoABI

/// What an environment can consume, each bounded by its quota.
public enum QuotaKind: CaseIterable, Hashable, Sendable, CustomStringConvertible {
  /// Frames owned.
  case frames
  /// Entries in the capability table.
  case capabilities
  /// Exceptions, events and gates bound.
  case bindings
  /// Environments created and not yet ended.
  case environments
  /// Exocalls accepted and not yet answered.
  case ringWork

  public var description: String {
    switch self {
    case .frames: "frames"
    case .capabilities: "capabilities"
    case .bindings: "bindings"
    case .environments: "environments"
    case .ringWork: "ring work"
    }
  }
}

/// An amount of everything that has a quota.
public struct Quota: Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public var frames: UInt64
  public var capabilities: UInt64
  public var bindings: UInt64
  public var environments: UInt64
  public var ringWork: UInt64

  public init(
    frames: UInt64 = 0, capabilities: UInt64 = 0, bindings: UInt64 = 0, environments: UInt64 = 0,
    ringWork: UInt64 = 0
  ) {
    self.frames = frames
    self.capabilities = capabilities
    self.bindings = bindings
    self.environments = environments
    self.ringWork = ringWork
  }

  /// With a ring's worth of work for the environment itself, and one for each that it may create.
  init(frames: UInt64, capabilities: UInt64, bindings: UInt64, withRingsFor environments: UInt64) {
    let (rings, overflow) = environments.addingReportingOverflow(1)
    let (work, overflows) = rings.multipliedReportingOverflow(by: UInt64(EXO_RING_CAPACITY))
    self.init(
      frames: frames, capabilities: capabilities, bindings: bindings, environments: environments,
      ringWork: overflow || overflows ? .max : work)
  }

  public subscript(kind: QuotaKind) -> UInt64 {
    get {
      switch kind {
      case .frames: frames
      case .capabilities: capabilities
      case .bindings: bindings
      case .environments: environments
      case .ringWork: ringWork
      }
    }
    set {
      switch kind {
      case .frames: frames = newValue
      case .capabilities: capabilities = newValue
      case .bindings: bindings = newValue
      case .environments: environments = newValue
      case .ringWork: ringWork = newValue
      }
    }
  }

  public var description: String {
    QuotaKind.allCases.filter { self[$0] > 0 }.map { "\(self[$0]) \($0)" }.joined(separator: ", ")
  }
}
