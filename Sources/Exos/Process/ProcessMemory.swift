#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// Memory for what a process has of its own and its maker fills: its data, its record. The maker owns the frames, fills them where they are
  /// mapped here too, and keeps them for the next process: to take a page out of an address space costs several times what it
  /// costs to fill it, so that they stay in this one.
  package enum ProcessMemory {
    /// Frames of one capability, and where they are mapped.
    package struct Block {
      package let owner: Capability
      package let address: UInt64
      package let pages: UInt64
      /// Whether nothing was ever written to them.
      var isClean: Bool

      /// Puts a copy of some bytes at their beginning and zeroes after it.
      package mutating func fill(from source: UnsafeRawPointer, count: Int) {
        let memory = UnsafeMutableRawPointer(bitPattern: UInt(address)).unsafelyUnwrapped
        if count > 0 { memory.copyMemory(from: source, byteCount: count) }
        if !isClean {
          (memory + count).initializeMemory(as: UInt8.self, repeating: 0, count: Int(pages) << 12 - count)
        }
        isClean = false
      }
    }

    /// Where blocks lie; never part of what a forked child gets.
    package static var window: Range<UInt64> { 0x5010_0000_0000..<0x5020_0000_0000 }
    /// Most pages kept for the next process.
    private static var mostKept: UInt64 { 128 }

    nonisolated(unsafe) private static var kept: [Block] = []
    /// Addresses that were used before.
    nonisolated(unsafe) private static var free: [(address: UInt64, pages: UInt64)] = []
    nonisolated(unsafe) private static var unused: UInt64 = 0x5010_0000_0000

    /// So many pages, or fewer where the machine has no more side by side.
    /// - Throws: as `Exocall.frameAllocate` and `Exocall.map`.
    package static func take(pages: UInt64) throws(ExocallError) -> Block {
      while let block = takeKept(pages) {
        // Frames may have been taken back meanwhile (`Revocation.repossession`).
        if isWhole(block) { return block }
        discard(block)
      }
      let grant: FrameGrant
      do throws(ExocallError) { grant = try Exocall.frameAllocate(count: pages) } catch {
        guard trim() else { throw error }
        grant = try Exocall.frameAllocate(count: pages)
      }
      let address = place(grant.count)
      do throws(ExocallError) {
        guard address < window.upperBound else { throw .noSpace }
        try grant.owner.map(at: address, pages: grant.count, [.read, .write])
      } catch {
        try? grant.owner.drop()
        throw error
      }
      return Block(owner: grant.owner, address: address, pages: grant.count, isClean: true)
    }

    /// Takes back a block of a process that has ended, and of nobody else's.
    package static func giveBack(_ block: Block) {
      // Whoever had been given some of it by the process has it no longer.
      guard keptPages + block.pages <= mostKept, (try? block.owner.revoke()) != nil else {
        return discard(block)
      }
      Events.masked { kept.append(block) }
    }

    /// Gives it up, from whoever has it mapped.
    package static func discard(_ block: Block) {
      try? block.owner.drop()
      Events.masked { free.append((block.address, block.pages)) }
    }

    /// Gives up what is kept; whether there was anything.
    @discardableResult
    package static func trim() -> Bool {
      let rested = RestingProcess.trim()
      let given = Events.masked { () -> [Block] in
        defer { kept = [] }
        return kept
      }
      for block in given { discard(block) }
      return rested || !given.isEmpty
    }

    /// In a forked child, to which nothing of this belongs.
    package static func beginForked() {
      (kept, free, unused) = ([], [], window.lowerBound)
      RestingProcess.beginForked()
    }

    private static var keptPages: UInt64 { kept.reduce(0) { $0 + $1.pages } }
    private static func takeKept(_ pages: UInt64) -> Block? {
      Events.masked {
        guard let index = kept.firstIndex(where: { $0.pages == pages }) else { return nil }
        return kept.remove(at: index)
      }
    }

    static func isWhole(_ block: Block) -> Bool {
      var page: UInt64 = 0
      while page < block.pages {
        guard PageTables.frame(of: block.address + page << 12) != nil else { return false }
        page += 1
      }
      return true
    }

    private static func place(_ pages: UInt64) -> UInt64 {
      Events.masked {
        if let index = free.firstIndex(where: { $0.pages == pages }) { return free.remove(at: index).address }
        defer { unused += pages << 12 }
        return unused
      }
    }
  }
#endif
