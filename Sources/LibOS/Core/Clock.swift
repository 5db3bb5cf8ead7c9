#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// The monotonic clock, read without a call.
  public enum Clock {
    /// From the page all environments share, which gives the counter's scale.
    public static var scale: ClockScale {
      ClockScale(
        UnsafePointer<exo_machine>(bitPattern: UInt(Startup.page.pointee.machine)).unsafelyUnwrapped.pointee)
    }

    /// The processor's time-stamp counter.
    @inline(__always)
    public static var ticks: UInt64 { exo_ticks() }

    /// When the environment's first instruction ran, in nanoseconds of the monotonic clock.
    public static var start: UInt64 { scale.nanoseconds(at: exo_entry_ticks) }

    /// Nanoseconds of the monotonic clock.
    public static var now: UInt64 { scale.nanoseconds(at: ticks) }
  }
#endif
