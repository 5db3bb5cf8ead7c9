#if hasFeature(Embedded)
  import ExoABI

  /// Frames granted by one call.
  public struct FrameGrant {
    /// Index of the capability to them in this environment's table.
    public var capability: UInt64
    /// Number of the first frame; the others follow it.
    public var first: UInt64
    public var count: UInt64
  }

  extension Exocall {
    /// Allocates physical frames that follow one another, fewer than asked if so many do not.
    /// - Parameters:
    ///   - first: the frame to begin at, or any.
    ///   - count: frames wanted.
    /// - Throws: `outOfMemory`, `quotaExceeded`, `busy` if a frame asked for by number is not free, `invalid`.
    public static func frameAllocate(first: UInt64? = nil, count: UInt64) throws(ExocallError) -> FrameGrant {
      let answer = try make(
        RingRequest(EXO_CALL_frame_allocate.rawValue, first ?? UInt64(EXO_FRAME_ANY), count))
      return FrameGrant(
        capability: UInt64(answer.result), first: answer.values.0, count: answer.values.1)
    }

    /// Gives frames back. They must not be mapped any more.
    /// - Throws: `badCapability`, `notPermitted`, `busy` if mapped or pinned, `stale`.
    public static func frameFree(_ capability: UInt64) throws(ExocallError) {
      _ = try make(RingRequest(EXO_CALL_frame_free.rawValue, capability))
    }

    /// Maps pages of a capability, from number `page` within it on, at an address of the user half.
    /// - Throws: `badCapability`, `notPermitted`, `stale`, `invalid`, `exists` if a page is mapped there,
    ///   `outOfMemory` for page tables, `outOfRange` beyond the capability's pages.
    public static func map(
      _ capability: UInt64, page: UInt64, at address: UInt64, pages: UInt64, rights: Rights
    ) throws(ExocallError) {
      _ = try make(RingRequest(EXO_CALL_map.rawValue, capability, page, address, pages, rights.rawValue))
    }

    /// Removes whatever is mapped in a range of pages.
    /// - Throws: `invalid`, `busy` if a page is pinned.
    public static func unmap(_ address: UInt64, pages: UInt64) throws(ExocallError) {
      _ = try make(RingRequest(EXO_CALL_unmap.rawValue, address, pages))
    }

    /// Changes what mapped pages allow, within the rights granted when they were mapped. Where the nucleus can do it,
    /// nothing leaves the guest.
    /// - Throws: `invalid`, `notPermitted`, `noEntry` if a page is not mapped, `busy` if pinned.
    public static func protect(_ address: UInt64, pages: UInt64, rights: Rights) throws(ExocallError) {
      if NucleusCalls.protect(address, pages: pages, rights: rights) { return }
      _ = try make(RingRequest(EXO_CALL_protect.rawValue, address, pages, rights.rawValue))
    }
  }
#endif
