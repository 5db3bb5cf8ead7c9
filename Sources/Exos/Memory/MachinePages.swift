#if hasFeature(Embedded)
  import ExoABI
  import LibOS

  /// Frames from the exokernel for virtual memory. All lie side by side in a window of this environment's own, so that
  /// copying one takes no call; how they are mapped in regions is apart from that.
  public struct MachinePages: PageMachine {
    /// Addresses of the windows, one for each that is made.
    public static var window: Range<UInt64> { 0x6900_0000_0000..<0x6a00_0000_0000 }
    private static var windowSize: UInt64 { 1 << 34 }
    nonisolated(unsafe) private static var made: UInt64 = 0
    private let base: UInt64
    private struct Slot {
      var capability: Capability
      var page: UInt64
      var number: UInt32
      var isZero: Bool
    }
    private var slots: [Slot] = []
    private var free: [Int] = []
    /// Most frames to hold.
    private let limit: Int
    /// How many to ask for at a time.
    private let batch: Int

    public init(limit: Int = .max, batch: Int = 32) {
      base = Self.window.lowerBound + Self.made * Self.windowSize
      precondition(base < Self.window.upperBound)
      Self.made += 1
      self.limit = min(limit, Int(Self.windowSize >> 12))
      self.batch = batch
    }

    /// Frames in use.
    public var used: Int { slots.count - free.count }

    public mutating func takeFrame() -> PageFrame? {
      if free.isEmpty { refill() }
      guard let slot = free.popLast() else { return nil }
      let frame = PageFrame(slot: slot)
      if !slots[slot].isZero {
        contents(of: frame).initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
      }
      slots[slot].isZero = false
      return frame
    }

    public mutating func giveFrame(_ frame: PageFrame) { free.append(frame.slot) }

    public func contents(of frame: PageFrame) -> UnsafeMutableRawPointer {
      UnsafeMutableRawPointer(bitPattern: UInt(address(of: frame.slot))).unsafelyUnwrapped
    }

    /// The frame's name in the machine.
    public func number(of frame: PageFrame) -> UInt32 { slots[frame.slot].number }

    /// Takes particular frames, if they are free: what an allocator that chooses among names does.
    public mutating func takeFrame(number: UInt32) -> PageFrame? {
      guard slots.count < limit, let grant = try? Exocall.frameAllocate(first: UInt64(number), count: 1)
      else {
        return nil
      }
      guard add(grant) else { return nil }
      return free.popLast().map(PageFrame.init)
    }

    public mutating func map(
      _ frame: PageFrame, at address: UInt64, _ rights: Rights
    ) throws(ExocallError) {
      let slot = slots[frame.slot]
      try slot.capability.map(page: slot.page, at: address, pages: 1, rights)
    }
    public mutating func unmap(_ address: UInt64, pages: UInt64) throws(ExocallError) {
      try Exocall.unmap(address, pages: pages)
    }
    public mutating func protect(_ address: UInt64, pages: UInt64, _ rights: Rights) throws(ExocallError) {
      try Exocall.protect(address, pages: pages, rights: rights)
    }
    public func entry(of address: UInt64) -> PageTableEntry? { PageTables.entry(of: address) }

    /// The capability that a frame stands under, and its page there: to share it with another environment.
    public func name(of frame: PageFrame) -> (capability: Capability, page: UInt64) {
      (slots[frame.slot].capability, slots[frame.slot].page)
    }

    private func address(of slot: Int) -> UInt64 { base + UInt64(slot) << 12 }

    private mutating func refill() {
      var count = min(batch, limit - slots.count)
      while count > 0 {
        if let grant = try? Exocall.frameAllocate(count: UInt64(count)), add(grant) { return }
        // Near the limit less may still be had.
        count /= 2
      }
    }

    private mutating func add(_ grant: FrameGrant) -> Bool {
      do throws(ExocallError) {
        try grant.owner.map(at: address(of: slots.count), pages: grant.count, [.read, .write])
      } catch {
        try? grant.owner.drop()
        return false
      }
      for page in 0..<grant.count {
        free.append(slots.count)
        slots.append(
          Slot(
            capability: grant.owner, page: page, number: UInt32(truncatingIfNeeded: grant.first + page),
            isZero: true))
      }
      return true
    }
  }
#endif
