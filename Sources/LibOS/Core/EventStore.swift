#if hasFeature(Embedded)
  /// Events that were taken from the ring before anybody polled for them.
  enum EventStore {
    static var capacity: Int { 256 }
    // All zero at first, so that a child made of this image begins without.
    nonisolated(unsafe) private static var events: UnsafeMutablePointer<Event>?
    nonisolated(unsafe) private static var first = 0
    nonisolated(unsafe) static var count = 0

    static func add(_ event: Event) {
      guard count < capacity else { return }
      if events == nil { events = .allocate(capacity: capacity) }
      events?[(first + count) % capacity] = event
      count += 1
    }

    /// The oldest that is wanted.
    static func take(where isWanted: (Event) -> Bool) -> Event? {
      var found: Event?
      for _ in 0..<count {
        guard let event = take() else { break }
        if found == nil, isWanted(event) { found = event } else { add(event) }
      }
      return found
    }

    static func take() -> Event? {
      guard count > 0 else { return nil }
      let event = events?[first]
      first = (first + 1) % capacity
      count -= 1
      return event
    }
  }
#endif
