#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// The program's heap: what Swift's own allocations come from, and allocation that may be refused.
  public enum Heap {
    nonisolated(unsafe) static var chunks = ChunkHeap(source: FrameSource())

    /// Addresses the heap may use; the image lies below.
    static let region: Range<UInt> = 0x10_0000_0000..<0x4000_0000_0000

    /// Whether whoever made this environment has mapped some pages of the heap's addresses for it.
    nonisolated(unsafe) package static var hasGivenPages = false

    /// Where the first chunks will lie, for whoever gives them pages.
    package static func chunk(_ number: Int) -> UInt64 {
      UInt64(region.lowerBound) + UInt64(number * ChunkHeader.reach)
    }

    /// Memory of so many bytes on a multiple of `alignment`, a power of two; nil where the machine has no more
    /// frames or this environment's limit is reached. Swift's own allocations end the program there.
    public static func allocate(bytes: Int, alignment: Int = 16) -> UnsafeMutableRawPointer? {
      precondition(bytes >= 0 && alignment > 0 && alignment & (alignment - 1) == 0)
      return allocateGuest(alignment, bytes)
    }

    /// Takes back memory that `allocate` gave.
    public static func free(_ memory: UnsafeMutableRawPointer) { freeGuest(memory) }

    /// Gives back the chunks that are kept though nothing is in them, at most 1 MiB and 128 KiB.
    public static func trim() { Events.masked { () -> Void in chunks.trim() } }

    public static var statistics: HeapStatistics { chunks.statistics }
  }

  /// Frames from the exokernel, mapped where a chunk wants them.
  struct FrameSource: HeapSource {
    mutating func map(_ address: UInt, pages: Int) -> HeapExtent? {
      var count = UInt64(pages)
      if Heap.hasGivenPages {
        // Up to where one begins that is given, or the first that is not.
        let isGiven = PageTables.frame(of: UInt64(address)) != nil
        var alike: UInt64 = 1
        while alike < count, (PageTables.frame(of: UInt64(address) + alike << 12) != nil) == isGiven {
          alike += 1
        }
        if isGiven { return HeapExtent(capability: HeapExtent.given, pages: alike) }
        count = alike
      }
      while count > 0 {
        if let grant = try? Exocall.frameAllocate(count: count) {
          do throws(ExocallError) {
            try Exocall.map(
              grant.capability, page: 0, at: UInt64(address), pages: grant.count, rights: [.read, .write])
            return HeapExtent(capability: grant.capability, pages: grant.count)
          } catch {
            try? Exocall.frameFree(grant.capability)
            return nil
          }
        }
        // Near the limit less may still be had.
        count /= 2
      }
      return nil
    }

    mutating func unmap(_ address: UInt, _ extent: HeapExtent) {
      // It stays where it is, for whatever comes there next.
      if extent.capability == HeapExtent.given { return }
      // Neither is refused for what this heap mapped itself; if it were, the frames stay held, no worse.
      try? Exocall.unmap(UInt64(address), pages: extent.pages)
      if let sharing = PageSharing.current,
        sharing.keeps(UInt64(address), extent.pages, extent.capability)
      {
        return
      }
      try? Exocall.frameFree(extent.capability)
    }
  }

  @c(exo_guest_allocate)
  func allocateGuest(_ alignment: Int, _ size: Int) -> UnsafeMutableRawPointer? {
    // An event's handler may allocate too, or let another thread run.
    Events.masked {
      Heap.chunks.allocate(size: size, alignment: alignment).flatMap {
        UnsafeMutableRawPointer(bitPattern: $0)
      }
    }
  }

  @c(exo_guest_free)
  func freeGuest(_ address: UnsafeMutableRawPointer) {
    Events.masked { Heap.chunks.free(UInt(bitPattern: address)) }
  }
#endif
