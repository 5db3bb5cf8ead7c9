#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// Sleeping until a condition over one's own memory holds, which the exokernel looks at: another environment that has the page
  /// mapped wakes this one by a store, and nothing else.
  public enum Wakeup {
    /// Has the exokernel wake this environment from sleep whenever a rule's result is not 0. Its inputs: 0 the monotonic clock in
    /// nanoseconds, 1 how many events have not been taken. Its window: the page.
    /// - Parameter page: of memory that this environment owns; it is pinned while the rule is bound.
    /// - Throws: see `predicate_bind` in docs/exocalls.md.
    public static func bind(_ rule: RegionRule, page: UInt64) throws(ExocallError) {
      let bytes = rule.bytes
      _ = try bytes.withUnsafeBufferPointer { (buffer) throws(ExocallError) in
        try Exocall.make(
          RingRequest(
            EXO_CALL_predicate_bind.rawValue, UInt64(UInt(bitPattern: buffer.baseAddress)),
            UInt64(buffer.count), page))
      }
    }

    public static func unbind() throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_predicate_bind.rawValue))
    }

    /// Sleeps until the rule holds, or something else wakes this environment.
    public static func sleep() { machineRing.bell.wait(for: machineRing.consumed &+ 1) }
  }
#endif
