/// A dictionary of numbers that never takes long to grow: a large one consists of many, each of which grows by itself.
struct SplitDictionary<Value> {
  /// Used until there are parts.
  private var small: [UInt32: Value] = [:]
  private var parts: [[UInt32: Value]] = []
  private(set) var count = 0

  /// How many entries one dictionary has before there are parts, and how many there are then.
  private static var limit: Int { 128 }
  private static var partCount: Int { 256 }

  var isEmpty: Bool { count == 0 }

  private static func part(_ key: UInt32) -> Int { Int((key &* splitMultiplier) >> 24) }

  subscript(key: UInt32) -> Value? {
    get { parts.isEmpty ? small[key] : parts[Self.part(key)][key] }
    set {
      if parts.isEmpty {
        small[key] = newValue
        count = small.count
        if count > Self.limit { split() }
      } else {
        let part = Self.part(key)
        let before = parts[part].count
        parts[part][key] = newValue
        count += parts[part].count - before
      }
    }
  }
  mutating func removeValue(forKey key: UInt32) -> Value? {
    let removed =
      parts.isEmpty ? small.removeValue(forKey: key) : parts[Self.part(key)].removeValue(forKey: key)
    if removed != nil { count -= 1 }
    return removed
  }

  private mutating func split() {
    parts = [[UInt32: Value]](repeating: [:], count: Self.partCount)
    for (key, value) in small { parts[Self.part(key)][key] = value }
    small = [:]
  }
}
extension SplitDictionary: Sendable where Value: Sendable {}

/// Against numbers that were chosen to come into one part.
private let splitMultiplier = UInt32.random(in: 1 << 30...UInt32.max) | 1

extension SplitDictionary: Sequence {
  struct Iterator: IteratorProtocol {
    fileprivate let parts: [[UInt32: Value]]
    fileprivate var following = 0
    fileprivate var current: Dictionary<UInt32, Value>.Iterator
    mutating func next() -> (key: UInt32, value: Value)? {
      while true {
        if let element = current.next() { return element }
        guard following < parts.count else { return nil }
        current = parts[following].makeIterator()
        following += 1
      }
    }
  }
  func makeIterator() -> Iterator { Iterator(parts: parts, current: small.makeIterator()) }

  /// Any of them.
  var first: (key: UInt32, value: Value)? {
    var iterator = makeIterator()
    return iterator.next()
  }
}
