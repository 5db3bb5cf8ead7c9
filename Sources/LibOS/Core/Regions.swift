#if hasFeature(Embedded)
  import ExoABI

  /// A few bytes that several environments share, each access judged by the rule of whoever made the region. The bytes are
  /// the exokernel's: nobody has them mapped.
  public struct Region: Sendable {
    public let capability: Capability

    /// A region somebody gave this environment a capability to.
    public init(_ capability: Capability) { self.capability = capability }

    /// Makes a region of up to 4,096 zero bytes. It is one binding of this environment's quota, and goes when the
    /// capability does.
    /// - Throws: `invalid` for a size or a rule the exokernel does not take, `quotaExceeded`.
    public static func create(size: Int, rule: RegionRule) throws(ExocallError) -> Region {
      let bytes = rule.bytes
      let answer = try bytes.withUnsafeBufferPointer { (buffer) throws(ExocallError) in
        try Exocall.make(
          RingRequest(
            EXO_CALL_region_create.rawValue, UInt64(size), UInt64(UInt(bitPattern: buffer.baseAddress)),
            UInt64(buffer.count)))
      }
      return Region(Capability(handle: UInt64(bitPattern: answer.result)))
    }

    /// Copies bytes out.
    /// - Throws: `badCapability`, `notPermitted` if the capability or the rule forbids it, `stale`, `badAddress`,
    ///   `outOfRange` past the region's end, `noEntry` if it is no more.
    public func read(at offset: Int, into bytes: UnsafeMutableRawBufferPointer) throws(ExocallError) {
      try access(EXO_REGION_READ, offset, UInt(bitPattern: bytes.baseAddress), bytes.count)
    }

    /// Copies bytes in.
    /// - Throws: as `read`.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(ExocallError) {
      try access(EXO_REGION_WRITE, offset, UInt(bitPattern: bytes.baseAddress), bytes.count)
    }

    /// The word at an offset.
    /// - Throws: as `read`.
    public func word(at offset: Int) throws(ExocallError) -> UInt64 {
      let place = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
      defer { place.deallocate() }
      place.pointee = 0
      try read(at: offset, into: UnsafeMutableRawBufferPointer(start: place, count: 8))
      return place.pointee
    }

    /// Stores a word.
    /// - Throws: as `read`.
    public func store(_ word: UInt64, at offset: Int) throws(ExocallError) {
      let place = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
      defer { place.deallocate() }
      place.pointee = word
      try write(UnsafeRawBufferPointer(start: place, count: 8), at: offset)
    }

    private func access(
      _ operation: Int32, _ offset: Int, _ address: UInt, _ count: Int
    ) throws(ExocallError) {
      _ = try Exocall.make(
        RingRequest(
          EXO_CALL_region_access.rawValue, capability.handle, UInt64(operation), UInt64(offset),
          UInt64(address), UInt64(count)))
    }
  }
#endif
