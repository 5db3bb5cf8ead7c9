@testable import Exo

/// SplitMix64: the same seed gives the same test.
struct CapabilityRandom: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }
}

extension CapabilityRights {
  static let everyMemoryRight: CapabilityRights = [.read, .write, .execute, .grant]

  /// All subsets, itself and the empty one included.
  var subsets: [CapabilityRights] {
    (0...rawValue).filter { $0 & ~rawValue == 0 }.map { CapabilityRights(rawValue: $0) }
  }
}

extension Run where Number.Stride: SignedInteger {
  /// All runs within `0 ..< end`.
  static func all(below end: Number) -> [Run] {
    (0..<end).flatMap { first in (1...end - first).compactMap { Run(first: first, count: $0) } }
  }
}

extension Authority {
  static func frames(
    _ first: UInt32, _ count: UInt32, _ rights: CapabilityRights = .everyMemoryRight
  ) -> Authority? {
    Resource.frames(Frame(first), count: count).map { Authority($0, rights) }
  }
}
