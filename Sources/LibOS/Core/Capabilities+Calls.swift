#if hasFeature(Embedded)
  import ExoABI

  /// An entry of this environment's capability table. The handle is no secret and confers nothing: it only means
  /// something in the table of whoever presents it.
  public struct Capability: Hashable, Sendable {
    public let handle: UInt64

    @inline(__always)
    public init(handle: UInt64) { self.handle = handle }

    /// What it names and allows.
    /// - Throws: `badCapability`, `stale`.
    public func inspect() throws(ExocallError) -> CapabilityDescription {
      let answer = try Exocall.make(RingRequest(EXO_CALL_capability_inspect.rawValue, handle))
      return CapabilityDescription(
        kind: answer.result, rights: answer.values.0, range: answer.values.1)
    }

    /// Makes a narrower entry beside this one.
    /// - Parameters:
    ///   - rights: what the new one allows: no more than this one.
    ///   - first: number of the first page of a run of frames; 0 for other objects.
    ///   - pages: how many pages from there on, 0 for the rest.
    /// - Throws: `badCapability`, `notPermitted` for rights it does not have, `stale`, `outOfRange`, `quotaExceeded`.
    public func derive(
      _ rights: CapabilityRights, first: UInt64 = 0, pages: UInt64 = 0
    ) throws(ExocallError) -> Capability {
      let request = RingRequest(
        EXO_CALL_capability_derive.rawValue, handle, first, pages, rights.rawValue)
      return Capability(handle: UInt64(bitPattern: try Exocall.make(request).result))
    }

    /// Puts the same objects, or some of them, with these rights at most into another environment's table, out of
    /// that one's quota. Needs the right to grant, and that to deliver to the environment.
    /// - Returns: the receiver's handle, which means something to the receiver only.
    /// - Throws: as `derive`; `noEntry` if the environment has ended.
    public func grant(
      to environment: Environment, _ rights: CapabilityRights, first: UInt64 = 0, pages: UInt64 = 0
    ) throws(ExocallError) -> Capability {
      let request = RingRequest(
        EXO_CALL_capability_grant.rawValue, handle, environment.capability.handle, first, pages,
        rights.rawValue)
      return Capability(handle: UInt64(bitPattern: try Exocall.make(request).result))
    }

    /// Takes back everything that was derived from it, wherever it is now, and the mappings that stood on that.
    /// - Returns: how many capabilities were taken back.
    /// - Throws: `badCapability`, `stale`, `busy`.
    @discardableResult
    public func revoke() throws(ExocallError) -> Int {
      Int(try Exocall.make(RingRequest(EXO_CALL_capability_revoke.rawValue, handle)).result)
    }

    /// Gives it up. If it is the first one to its object, the object goes with it, from everybody.
    /// - Throws: `badCapability`, `stale`, `busy` for frames under a guaranteed mapping.
    public func drop() throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_capability_drop.rawValue, handle))
    }

    /// Maps frames it names into this environment.
    /// - Throws: see `Exocall.map`.
    public func map(
      page: UInt64 = 0, at address: UInt64, pages: UInt64, _ rights: Rights
    ) throws(ExocallError) {
      try Exocall.map(handle, page: page, at: address, pages: pages, rights: rights)
    }

    /// The capabilities of this environment, in no promised order. Those that come or go meanwhile may be missed.
    public static var own: CapabilityList { CapabilityList() }
  }

  /// This environment's capabilities, asked for one at a time.
  public struct CapabilityList: Sequence, IteratorProtocol {
    private var last: UInt64 = 0
    private var isOver = false

    public mutating func next() -> Capability? {
      guard !isOver,
        let answer = try? Exocall.make(RingRequest(EXO_CALL_capability_next.rawValue, last)),
        answer.result != 0
      else {
        isOver = true
        return nil
      }
      last = UInt64(bitPattern: answer.result)
      return Capability(handle: last)
    }
  }

  extension FrameGrant {
    /// The first capability to the frames: whoever holds it owns them.
    public var owner: Capability { Capability(handle: capability) }
  }
#endif
