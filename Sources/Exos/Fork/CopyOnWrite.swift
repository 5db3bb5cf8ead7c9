#if hasFeature(Embedded)
  import ExoABI
  import ExosMemory
  import GuestRuntime
  import ExosProcess
  import LibOS

  /// Pages that a process and the children it forked share until one of them writes.
  ///
  /// The parent owns the frames and has lowered its own pages; a child has them mapped for reading only, so that the exokernel and
  /// not this library keeps it from writing. Who writes first copies, into a frame of its own quota. What the parent had is put back
  /// in its place when the last child has ended.
  ///
  /// What is kept about it lies in pages of its own, which are copied at a fork: a page-fault handler must not fault.
  enum CopyOnWrite {
    struct Span {
      var address: UInt64
      var pages: UInt64
      /// In this environment's table, and the number of the first page within it; nothing where the frames are a parent's.
      var capability: UInt64
      var first: UInt64
      var isInherited: Bool
    }
    private struct Moved {
      var address: UInt64
      var capability: UInt64
      var page: UInt64
    }
    /// Frames that copies go to, which are mapped side by side too, so that copying needs no call.
    private struct Batch {
      var capability: UInt64
      var window: UInt64
      var pages: UInt64
    }

    static var book: UInt64 { 0x5600_0000_0000 }
    static var bookPages: UInt64 { 26 }
    static var mostSpans: Int { 1024 }
    private static var mostMoved: Int { 2048 }
    private static var mostBatches: Int { 128 }
    private static var mostKept: Int { 512 }
    /// Where the batches lie; never part of what a child gets.
    static var windows: Range<UInt64> { 0x5700_0000_0000..<0x5800_0000_0000 }

    nonisolated(unsafe) static var spanCount = 0
    nonisolated(unsafe) static var children = 0
    nonisolated(unsafe) private static var movedCount = 0
    nonisolated(unsafe) private static var batchCount = 0
    nonisolated(unsafe) private static var keptCount = 0
    nonisolated(unsafe) private static var batchUsed: UInt64 = 0
    nonisolated(unsafe) private static var batch = Batch(capability: 0, window: 0, pages: 0)
    nonisolated(unsafe) private static var taken: UInt64 = 0
    nonisolated(unsafe) private static var hasBook = false
    /// Something was copied that is in no list, so that no frame can be put back.
    nonisolated(unsafe) private static var hasLost = false
    nonisolated(unsafe) private static var isBound = false

    private static func table<Entry>(_ page: UInt64, _: Entry.Type) -> UnsafeMutablePointer<Entry> {
      UnsafeMutablePointer(bitPattern: UInt(book + page << 12)).unsafelyUnwrapped
    }
    static var spans: UnsafeMutablePointer<Span> { table(0, Span.self) }
    private static var moved: UnsafeMutablePointer<Moved> { table(12, Moved.self) }
    private static var batches: UnsafeMutablePointer<Batch> { table(24, Batch.self) }
    private static var kept: UnsafeMutablePointer<UInt64> { table(25, UInt64.self) }

    /// Ready for a fork: the book is there, and page faults come here first.
    static func begin() throws(ExocallError) {
      if !hasBook {
        var done: UInt64 = 0
        while done < bookPages {
          let grant = try Exocall.frameAllocate(count: bookPages - done)
          try grant.owner.map(at: book + done << 12, pages: grant.count, [.read, .write])
          done += grant.count
        }
        hasBook = true
      }
      if !isBound {
        PageSharing.current = PageSharing(
          resolve: resolveSharedFault, keeps: keepSharedFrames, prepare: prepareShared)
        try Exceptions.bindForSharing()
        isBound = true
      }
    }

    /// In a new child: all is inherited, and nothing has been copied. It takes page faults before anything else is written to.
    static func becomeChild() throws(ExocallError) {
      children = 0
      movedCount = 0
      batchCount = 0
      keptCount = 0
      batchUsed = 0
      batch = Batch(capability: 0, window: 0, pages: 0)
      taken = 0
      hasLost = false
      for index in 0..<spanCount {
        spans[index].isInherited = true
        spans[index].capability = 0
      }
      try Exceptions.bindForSharing()
    }

    static func span(of address: UInt64) -> Int? {
      for index in 0..<spanCount {
        let span = spans[index]
        if address >= span.address, address - span.address < span.pages << 12 { return index }
      }
      return nil
    }

    /// Makes a page writable for whoever wrote to it; false if it is not one of these, or there is no frame to copy it to.
    static func resolve(_ address: UInt64) -> Bool {
      let page = address & ~4095
      guard let entry = PageTables.entry(of: page), !entry.rights.contains(.write), let index = span(of: page)
      else { return false }
      let isOwn = entry.granted.contains(.write)
      do throws(ExocallError) {
        if isOwn, children == 0 {
          try Exocall.protect(page, pages: 1, rights: [.read, .write])
          return true
        }
        if batchUsed == batch.pages { try refill() }
        let place = batch.window + batchUsed << 12
        copy(page, entry.key, to: place)
        try Exocall.unmap(page, pages: 1)
        try Exocall.map(batch.capability, page: batchUsed, at: page, pages: 1, rights: [.read, .write])
        if entry.key != 0 { try Exocall.setKey(page, pages: 1, key: entry.key) }
        batchUsed += 1
        guard isOwn else { return true }
        let span = spans[index]
        if movedCount < mostMoved {
          moved[movedCount] = Moved(
            address: page, capability: span.capability, page: span.first + (page - span.address) >> 12)
          movedCount += 1
        } else {
          hasLost = true
        }
        return true
      } catch { return false }
    }

    private static func copy(_ page: UInt64, _ key: UInt32, to place: UInt64) {
      ProtectionKeys.opening(key) {
        UnsafeMutableRawPointer(bitPattern: UInt(place)).unsafelyUnwrapped.copyMemory(
          from: UnsafeRawPointer(bitPattern: UInt(page)).unsafelyUnwrapped, byteCount: 4096)
      }
    }

    private static func refill() throws(ExocallError) {
      let grant: FrameGrant
      // Near the limit less may still be had.
      do throws(ExocallError) { grant = try Exocall.frameAllocate(count: 32) } catch {
        grant = try Exocall.frameAllocate(count: 1)
      }
      let window = windows.lowerBound + taken
      try Exocall.map(
        grant.capability, page: 0, at: window, pages: grant.count, rights: [.read, .write])
      taken += grant.count << 12
      batch = Batch(capability: grant.capability, window: window, pages: grant.count)
      batchUsed = 0
      if batchCount < mostBatches {
        batches[batchCount] = batch
        batchCount += 1
      } else {
        hasLost = true
      }
    }

    /// A child that was forked has ended. After the last one everything is where it was.
    static func childEnded() {
      guard children > 0 else { return }
      children -= 1
      guard children == 0 else { return }
      let place = windows.upperBound - 4096
      while movedCount > 0, !hasLost {
        movedCount -= 1
        let entry = moved[movedCount]
        do throws(ExocallError) {
          try Exocall.map(
            entry.capability, page: entry.page, at: place, pages: 1, rights: [.read, .write])
          let key = PageTables.entry(of: entry.address)?.key ?? 0
          copy(entry.address, key, to: place)
          try Exocall.unmap(place, pages: 1)
          try Exocall.unmap(entry.address, pages: 1)
          try Exocall.map(
            entry.capability, page: entry.page, at: entry.address, pages: 1, rights: [.read, .write])
          if key != 0 { try Exocall.setKey(entry.address, pages: 1, key: key) }
        } catch { panic("a page could not be put back after a fork") }
      }
      while keptCount > 0 {
        keptCount -= 1
        try? Exocall.frameFree(kept[keptCount])
      }
      // Copies of what is a parent's stay in use.
      for index in 0..<spanCount where spans[index].isInherited { return }
      guard !hasLost else { return }
      for index in 0..<batchCount {
        try? Exocall.unmap(batches[index].window, pages: batches[index].pages)
        try? Exocall.frameFree(batches[index].capability)
      }
      batchCount = 0
      batchUsed = 0
      batch = Batch(capability: 0, window: 0, pages: 0)
      taken = 0
    }

    /// The heap gives up pages, which are unmapped already. Whether their frames have to stay: a child reads them, or they are not
    /// this environment's to give.
    static func keeps(_ address: UInt64, pages: UInt64, _ capability: UInt64) -> Bool {
      let end = address + pages << 12
      var isShared = false
      var isInherited = false
      var left = 0
      for index in 0..<spanCount {
        let span = spans[index]
        if span.address >= address, span.address < end {
          isShared = true
          if span.isInherited { isInherited = true }
        } else {
          spans[left] = span
          left += 1
        }
      }
      spanCount = left
      left = 0
      for index in 0..<movedCount where moved[index].address < address || moved[index].address >= end {
        moved[left] = moved[index]
        left += 1
      }
      movedCount = left
      if isInherited { return true }
      guard isShared, children > 0 else { return false }
      if keptCount < mostKept {
        kept[keptCount] = capability
        keptCount += 1
      }
      return true
    }

    /// Has memory copied that the exokernel is about to write to: it refuses where this environment may not write.
    static func prepare(_ address: UInt64, _ count: UInt64) {
      guard spanCount > 0 else { return }
      var page = address & ~4095
      while page < address + count {
        _ = resolve(page)
        page += 4096
      }
    }

    static func resolve(_ frame: UnsafeMutablePointer<ExceptionFrame>) -> Bool {
      // What a protection key forbids is not to be copied.
      guard spanCount > 0, frame.pointee.error_code & (2 | UInt64(EXO_FAULT_KEY)) == 2 else { return false }
      if Exceptions.tellsAddress { return resolve(frame.pointee.address) }
      guard let address = PageFaults.workOut(frame.pointee, isWrite: true, isFetch: false) else {
        return false
      }
      return resolve(address)
    }
  }

  private func resolveSharedFault(_ frame: UnsafeMutablePointer<exo_exception_frame>) -> Bool {
    CopyOnWrite.resolve(frame)
  }
  private func keepSharedFrames(_ address: UInt64, _ pages: UInt64, _ capability: UInt64) -> Bool {
    CopyOnWrite.spanCount > 0 && CopyOnWrite.keeps(address, pages: pages, capability)
  }
  /// A child that was forked has been given up.
  func forkedEnded() { CopyOnWrite.childEnded() }
  private func prepareShared(_ address: UInt64, _ count: UInt64) { CopyOnWrite.prepare(address, count) }
#endif
