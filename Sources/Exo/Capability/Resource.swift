/// What a capability names. Every object is a number, or a run of numbers, in the space of its kind.
enum Resource: Hashable, Sendable {
  case frames(Run<UInt32>)
  case addressSpace(EnvironmentID)
  case environment(EnvironmentID)
  case gate(UInt32)
  case event(UInt32)
  /// Slots of the slice vector of one processor.
  case slices(processor: UInt32, Run<UInt32>)
  /// Packets that may be claimed, or are (`Network`).
  case filter(UInt32)
  /// Packets that may be sent.
  case transmit(UInt32)
  /// Bytes under an access rule.
  case region(UInt32)
  /// Blocks of one disk.
  case extent(disk: UInt32, Run<UInt64>)

  enum Kind: UInt32, CaseIterable, Sendable {
    case frames = 1
    case addressSpace, environment, gate, event, slices, filter, extent, region, transmit

    /// The rights that mean something for objects of this kind. No capability carries others.
    var rights: CapabilityRights {
      switch self {
      case .frames: [.read, .write, .execute, .grant]
      case .addressSpace: [.read, .write, .grant]
      case .environment: [.control, .inspect, .deliver, .grant]
      case .gate: [.call, .control, .grant]
      case .event: [.signal, .control, .grant]
      case .slices: [.control, .grant]
      case .filter: [.inspect, .control, .call, .grant]
      case .transmit: [.call, .grant]
      case .extent, .region: [.read, .write, .grant]
      }
    }
  }

  var kind: Kind {
    switch self {
    case .frames: .frames
    case .addressSpace: .addressSpace
    case .environment: .environment
    case .gate: .gate
    case .event: .event
    case .slices: .slices
    case .filter: .filter
    case .transmit: .transmit
    case .region: .region
    case .extent: .extent
    }
  }

  /// The first number that it names and how many, as environments are told.
  var names: (first: UInt32, count: UInt32) {
    switch self {
    case .frames(let run), .slices(_, let run): (run.first, run.count)
    case .addressSpace(let id), .environment(let id): (id.number, 1)
    case .gate(let number), .event(let number), .filter(let number), .region(let number),
      .transmit(let number):
      (number, 1)
    case .extent(let disk, _): (disk, 1)
    }
  }

  /// `nil` where the run is empty or passes the last frame number.
  static func frames(_ first: Frame, count: UInt32) -> Resource? {
    Run(first: first.number, count: count).map { .frames($0) }
  }

  /// Whether every object `other` names is one this names.
  func contains(_ other: Resource) -> Bool {
    switch (self, other) {
    case (.frames(let mine), .frames(let theirs)): mine.contains(theirs)
    case (.slices(let mine, let run), .slices(let theirs, let part)): mine == theirs && run.contains(part)
    case (.extent(let mine, let run), .extent(let theirs, let part)): mine == theirs && run.contains(part)
    default: self == other  // the other kinds name one object each
    }
  }

  /// Whether some object is named by both.
  func overlaps(_ other: Resource) -> Bool {
    switch (self, other) {
    case (.frames(let a), .frames(let b)): a.overlaps(b)
    case (.slices(let a, let run), .slices(let b, let part)): a == b && run.overlaps(part)
    case (.extent(let a, let run), .extent(let b, let part)): a == b && run.overlaps(part)
    default: self == other
    }
  }
}

extension Resource: CustomStringConvertible {
  var description: String {
    switch self {
    case .frames(let run): "frames \(run)"
    case .addressSpace(let environment): "address space of \(environment)"
    case .environment(let environment): "\(environment)"
    case .gate(let number): "gate \(number)"
    case .event(let number): "event \(number)"
    case .slices(let processor, let run): "slices \(run) of processor \(processor)"
    case .filter(let number): "filter \(number)"
    case .transmit(let number): "template \(number)"
    case .region(let number): "region \(number)"
    case .extent(let disk, let run): "blocks \(run) of disk \(disk)"
    }
  }
}
