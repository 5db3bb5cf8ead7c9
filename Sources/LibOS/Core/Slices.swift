#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// Slots of a processor's slice vector: time by capability.
  public struct Slices: Sendable {
    public let capability: Capability
    /// Number of the first slot.
    public let first: UInt64
    public let count: UInt64

    /// Allocates slots that follow one another.
    /// - Parameters:
    ///   - processor: of which processor.
    ///   - first: the slot to begin at, or any.
    ///   - count: slots wanted.
    /// - Throws: `busy` if one is another's, `noSpace` once three quarters of the vector are owned, `invalid`.
    public static func allocate(
      processor: UInt64 = 0, first: UInt64? = nil, count: UInt64
    ) throws(ExocallError) -> Slices {
      let answer = try Exocall.make(
        RingRequest(EXO_CALL_slices_allocate.rawValue, processor, first ?? UInt64(EXO_FRAME_ANY), count))
      return Slices(
        capability: Capability(handle: UInt64(bitPattern: answer.result)), first: answer.values.0,
        count: answer.values.1)
    }

    /// Has an environment run in them; oneself if left out.
    /// - Throws: `badCapability`, `notPermitted`, `stale`.
    public func bind(to environment: Environment? = nil) throws(ExocallError) {
      _ = try Exocall.make(
        RingRequest(
          EXO_CALL_slices_bind.rawValue, capability.handle, 0, count, environment?.capability.handle ?? 0))
    }

    /// Whether it is nobody's loss to watch memory for a moment instead of sleeping: no other environment waits for this processor,
    /// and the host has another one for whoever is to change that memory.
    @inline(__always)
    public static var mayWatch: Bool {
      let status = UInt64(Startup.page.pointee.status)
      return exo_load32(status + 4) == 0 && exo_load32(status) != UInt32(EXO_SERVICE_EXIT)
    }

    /// Gives up the rest of the slice, to an environment that runs next if it can.
    public static func yield(to environment: Environment? = nil) {
      exo_ring_doorbell_wide(
        Startup.page.pointee.doorbell, UInt32(EXO_DOORBELL_YIELD), environment?.capability.handle ?? 0)
    }
  }
#endif
