import ExoABI

/// What a capability lets its holder do with the object it names.
public struct CapabilityRights: OptionSet, Hashable, Sendable {
  public let rawValue: UInt64

  @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The rights of a mapping that a capability with these allows.
  public init(_ rights: Rights) { self.init(rawValue: rights.rawValue) }

  public static var read: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_READ)) }
  public static var write: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_WRITE)) }
  public static var execute: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_EXECUTE)) }
  /// To hand it, or a narrower form of it, to another environment.
  public static var grant: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_RIGHT_GRANT)) }
  /// Environment: to fill, start, stop and end it.
  public static var control: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_RIGHT_CONTROL)) }
  /// Environment: to read its state and wait for its end.
  public static var inspect: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_RIGHT_INSPECT)) }
  public static var call: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_RIGHT_CALL)) }
  public static var signal: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_RIGHT_SIGNAL)) }
  /// Environment: to put capabilities into its table.
  public static var deliver: CapabilityRights { CapabilityRights(rawValue: UInt64(EXO_RIGHT_DELIVER)) }
}

/// What a capability names.
public enum CapabilityKind: UInt32, Sendable {
  case frames = 1
  case addressSpace, environment, gate, event, slices, filter, extent, region, transmit
}

/// What a capability's holder may know of it.
public struct CapabilityDescription: Equatable, Sendable {
  /// Nil for a kind that this LibOS has no name for.
  public let kind: CapabilityKind?
  public let rights: CapabilityRights
  /// Number of the first object it names: a frame, an environment, a region.
  public let first: UInt32
  /// How many objects it names, the others following the first.
  public let count: UInt32

  /// From the answer to `capability_inspect`: its result and its two values.
  init(kind: Int64, rights: UInt64, range: UInt64) {
    self.kind = CapabilityKind(rawValue: UInt32(truncatingIfNeeded: kind))
    self.rights = CapabilityRights(rawValue: rights)
    first = UInt32(truncatingIfNeeded: range)
    count = UInt32(truncatingIfNeeded: range >> 32)
  }

  /// Whether it names this frame.
  public func contains(frame: UInt32) -> Bool {
    kind == .frames && frame >= first && frame - first < count
  }
}
