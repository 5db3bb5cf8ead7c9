#if hasFeature(Embedded)
  import GuestRuntime

  /// The stacks that exceptions and events arrive on: the image's own, or in a child, whose image lies in its maker's
  /// frames, such as it takes for itself when the first is asked for.
  package enum ExceptionStacks {
    nonisolated(unsafe) package static var belongsToImage = true
    nonisolated(unsafe) private static var taken: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    private static var pages: UInt64 { 4 }
    /// Above where children are built; a page between two of them is never mapped.
    private static var base: UInt64 { 0x5100_0000_0000 }

    /// Top of a stack: 0 page faults, 1 other faults, 2 debugging, 3 events. Where there are no frames for it, one that
    /// the exokernel refuses to bind.
    static func top(_ index: Int) -> UInt64 {
      if belongsToImage { return exo_exception_stack_top(UInt32(index)) }
      switch index {
      case 0: return take(&taken.0, index)
      case 1: return take(&taken.1, index)
      case 2: return take(&taken.2, index)
      default: return take(&taken.3, index)
      }
    }

    /// A forked child has its image and these from its parent, and takes its own.
    static func forget() {
      belongsToImage = false
      taken = (0, 0, 0, 0)
    }
    package static func isTaken(_ address: UInt64) -> Bool { address >= base && address < base + 4 << 16 }

    private static func take(_ top: inout UInt64, _ index: Int) -> UInt64 {
      if top != 0 { return top }
      let start = base + UInt64(index) << 16
      var mapped: UInt64 = 0
      while mapped < pages {
        guard let grant = try? Exocall.frameAllocate(count: pages - mapped),
          (try? grant.owner.map(at: start + mapped << 12, pages: grant.count, [.read, .write])) != nil
        else { return exo_exception_stack_top(UInt32(index)) }
        mapped += grant.count
      }
      top = start + pages << 12
      return top
    }

    /// Whether a stack pointer lies in one of them: code there must not be left for another thread's.
    package static func contain(_ pointer: UInt64) -> Bool {
      for index: UInt32 in 0..<4 {
        let top = exo_exception_stack_top(index)
        if pointer <= top, top - pointer <= UInt64(EXO_EXCEPTION_STACK_SIZE) { return true }
      }
      return pointer > base && pointer <= base + 4 << 16
    }
  }
#endif
