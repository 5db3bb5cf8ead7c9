#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import ExosProcess
  import LibOS

  extension Process {
    /// What a forked child may have, and what it shares.
    public struct ForkOptions {
      /// It has to cover the child's page tables, its exception stacks, a capability or two for each run of frames, and a frame for
      /// each page that it will write.
      public var quota = EnvironmentQuota(frames: 1024, capabilities: 256, bindings: 16)
      /// nil: any.
      public var processor: UInt64?
      /// Memory that both go on seeing as one: pipes and files. All else is the child's own from now on.
      public var shared: [(address: UInt64, pages: UInt64)] = []
      public init() {}
    }

    /// Makes a process that goes on where this one does, with the same memory: nil in the child, the child in the parent.
    ///
    /// The image's data and the stack are copied at once. Other memory is shared until one of the two writes to a page
    /// (`CopyOnWrite`); where this process may not hand frames on, they are copied too. The child inherits arguments, variables and
    /// the page-fault handler, but no capabilities, connections, timers or watches: handles that it remembers mean nothing there. A
    /// stream that is a pipe is for one of the two. What the frames of shared memory belong to must be kept while the child lives; the
    /// heap looks after that itself. There must be no other threads.
    /// - Throws: `exocall` with what the exokernel refused, `quotaExceeded` and `outOfMemory` where frames are missing: nothing is
    ///   left of the child then. `invalid` on a thread's stack, with huge pages or with pages under a protection key, `noSpace` if memory is in too many pieces.
    public static func fork(_ options: ForkOptions = ForkOptions()) throws(ProcessError) -> Process? {
      Console.flush()
      let builder: ForkBuilder
      do throws(ExocallError) { builder = try ForkBuilder(options) } catch { throw .exocall(error) }
      Forking.current = builder
      let result = exo_fork()
      Forking.current = nil
      if result == 1 { return nil }
      if result < 0 { throw .exocall(ExocallError(number: Int32(truncatingIfNeeded: -result))) }
      do throws(ExocallError) {
        return Process(
          of: builder.builder, watch: try builder.environment.watch(), whenReleased: forkedEnded)
      } catch {
        builder.discard()
        throw .exocall(error)
      }
    }
  }

  enum Forking {
    nonisolated(unsafe) static var current: ForkBuilder?
  }

  @c(exo_guest_fork)
  func makeForked(_ stack: UInt64) -> Int64 {
    guard let builder = Forking.current else { return -Int64(EXO_EINVAL) }
    CopyOnWrite.children += 1
    do throws(ExocallError) {
      try builder.build(stack)
      return 0
    } catch {
      builder.discard()
      return -Int64(error.number)
    }
  }

  @c(exo_guest_forked)
  func beginForked(_ start: UnsafePointer<exo_start>) {
    // Nothing but the image's data and the stack may be written before page faults are taken.
    Startup.beginForked(start)
    do throws(ExocallError) { try CopyOnWrite.becomeChild() } catch { Exocall.exit(134) }
    ProcessMemory.beginForked()
    exo_process_begin()
  }

  /// Puts a child together: looks first, where memory is still allocated, then makes it of that.
  final class ForkBuilder {
    private enum Way { case copied, shared, copiedOnWrite }
    /// Pages that follow one another, and so do their frames.
    private struct Run {
      var address: UInt64
      var pages: UInt64
      var frame: UInt32
      var source: Int
      var rights: Rights
      var way: Way
      var isInherited = false
    }
    private struct Source {
      var capability: Capability
      var names: CapabilityDescription
    }

    let environment: Environment
    var builder: ProcessBuilder
    private let runs: UnsafeMutablePointer<Run>
    private var runCount = 0
    private var sources: [Source] = []
    private let shared: [(address: UInt64, pages: UInt64)]
    private var segments: [OwnSegment] = []
    private let record: [UInt8]
    private var hasFailed: ExocallError?
    private static var mostRuns: Int { 2048 }

    init(_ options: Process.ForkOptions) throws(ExocallError) {
      try CopyOnWrite.begin()
      shared = options.shared
      let header = UnsafeRawPointer(bitPattern: UInt(exo_image_header())).unsafelyUnwrapped
      for segment in OwnSegments(header: header) where segment.rights.contains(.write) {
        segments.append(segment)
      }
      var told = ProcessRecord(arguments: Arguments.all)
      told.variables = Variables.all
      record = told.encoded() ?? []
      guard let memory = Heap.allocate(bytes: Self.mostRuns * MemoryLayout<Run>.stride) else {
        throw .outOfMemory
      }
      runs = memory.bindMemory(to: Run.self, capacity: Self.mostRuns)
      // All of it is written to once, for while pages are looked at none may come to lie elsewhere.
      runs.initialize(
        repeating: Run(address: 0, pages: 0, frame: 0, source: -1, rights: [], way: .copied),
        count: Self.mostRuns)
      for capability in Capability.own {
        guard let names = try? capability.inspect(), names.kind == .frames, names.rights.contains(.grant)
        else { continue }
        sources.append(Source(capability: capability, names: names))
      }
      do throws(ExocallError) {
        environment = try Environment.create(options.quota, on: options.processor)
      } catch {
        Heap.free(memory)
        throw error
      }
      // Nothing may be allocated between the looks at memory and its copies, so that none must be given up then.
      ProcessMemory.trim()
      builder = ProcessBuilder(environment: environment)
      builder.blocks.reserveCapacity(256)
      builder.frames.reserveCapacity(16)
    }
    deinit { Heap.free(runs) }

    func discard() {
      builder.discard()
      CopyOnWrite.childEnded()
    }

    /// - Parameter stack: from where on the stack is in use.
    func build(_ stack: UInt64) throws(ExocallError) {
      let top = Startup.page.pointee.stack_top
      let bottom = stack & ~4095
      guard stack < top, top - stack <= 64 << 20 else { throw .invalid }
      var low = bottom
      while bottom - low < 32 << 12, PageTables.entry(of: low - 4096) != nil { low -= 4096 }
      look(from: 0x1000, to: UInt64(EXO_KIT_TABLES), stack: low..<top)
      if let hasFailed { throw hasFailed }
      // Before anything is lowered: from then on this environment may have to copy too.
      try list()
      for index in 0..<runCount where runs[index].way != .copied { try hand(on: runs[index]) }
      for index in 0..<runCount where runs[index].way == .copied {
        let run = runs[index]
        try builder.addCopy(
          at: run.address, pages: run.pages, rights: run.rights,
          UnsafeRawPointer(bitPattern: UInt(run.address)).unsafelyUnwrapped, Int(run.pages) << 12)
      }
      if PageTables.frame(of: ProcessRecord.address) == nil, !record.isEmpty {
        try record.withUnsafeBufferPointer { (bytes) throws(ExocallError) in
          try builder.addCopy(
            at: ProcessRecord.address, pages: UInt64(bytes.count + 4095) >> 12, rights: .read,
            UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped), bytes.count)
        }
      }
      if low < bottom { try builder.addFresh(at: low, pages: (bottom - low) >> 12) }
      try builder.addCopy(
        at: bottom, pages: (top - bottom) >> 12, rights: [.read, .write],
        UnsafeRawPointer(bitPattern: UInt(bottom)).unsafelyUnwrapped, Int(top - bottom))
      try environment.start(at: exo_fork_entry_address(), stack: stack, argument: stack)
    }

    /// Maps frames that this environment may hand on, and lets the child hand them on.
    private func hand(on run: Run) throws(ExocallError) {
      let source = sources[run.source]
      let page = UInt64(run.frame - source.names.first)
      var rights = run.rights
      if run.way == .copiedOnWrite {
        rights.remove(.write)
        if PageTables.entry(of: run.address)?.granted.contains(.write) ?? false {
          try Exocall.protect(run.address, pages: run.pages, rights: rights)
        }
      }
      try environment.map(source.capability, page: page, at: run.address, pages: run.pages, rights)
      _ = try source.capability.grant(
        to: environment, CapabilityRights(rights).union(.grant), first: page, pages: run.pages)
    }

    private func list() throws(ExocallError) {
      // Which were inherited is in the list that this one replaces.
      for index in 0..<runCount where runs[index].way == .copiedOnWrite {
        if let span = CopyOnWrite.span(of: runs[index].address), CopyOnWrite.spans[span].isInherited {
          runs[index].isInherited = true
        }
      }
      var count = 0
      for index in 0..<runCount where runs[index].way == .copiedOnWrite {
        guard count < CopyOnWrite.mostSpans else { throw .noSpace }
        let run = runs[index]
        let source = sources[run.source]
        CopyOnWrite.spans[count] = CopyOnWrite.Span(
          address: run.address, pages: run.pages, capability: source.capability.handle,
          first: UInt64(run.frame - source.names.first), isInherited: run.isInherited)
        count += 1
      }
      CopyOnWrite.spanCount = count
    }

    private func look(from start: UInt64, to end: UInt64, stack: Range<UInt64>) {
      var at = start
      while at < end {
        if at >= CopyOnWrite.windows.lowerBound, at < CopyOnWrite.windows.upperBound {
          at = CopyOnWrite.windows.upperBound
          continue
        }
        if ProcessMemory.window.contains(at) {
          at = ProcessMemory.window.upperBound
          continue
        }
        if at >= stack.lowerBound, at < stack.upperBound {
          at = stack.upperBound
          continue
        }
        let (entry, step) = PageTables.nextEntry(at)
        if let entry {
          // The child's page would be under none.
          if entry.isLarge && step > 4096 || entry.key != 0 {
            hasFailed = .invalid
            return
          }
          if !entry.isPinned, !ExceptionStacks.isTaken(at) { add(at, entry) }
        }
        at = (at & ~(step - 1)) &+ step
      }
    }

    private func add(_ address: UInt64, _ entry: PageTableEntry) {
      let frame = PageTables.frame(of: address)
      var run = Run(
        address: address, pages: 1, frame: frame ?? 0, source: -1, rights: entry.granted, way: .copied)
      let isShared = shared.contains { address >= $0.address && address - $0.address < $0.pages << 12 }
      let isImage = segments.contains { address >= $0.address && address - $0.address < $0.pages << 12 }
      let isBook =
        address >= CopyOnWrite.book && address - CopyOnWrite.book < CopyOnWrite.bookPages << 12
      if isImage || isBook {
        run.rights = [.read, .write]
      } else if let frame {
        let isLent = CopyOnWrite.span(of: address) != nil
        let isWritten = entry.granted.contains(.write) || isLent
        let wanted = CapabilityRights(isShared ? entry.granted : entry.granted.subtracting(.write))
        for index in 0..<sources.count
        where sources[index].names.contains(frame: frame)
          && wanted.isSubset(of: sources[index].names.rights)
        {
          run.source = index
          run.way = isWritten && !isShared ? .copiedOnWrite : .shared
          break
        }
        if run.source < 0 {
          if isShared { hasFailed = .notPermitted }
          if isWritten { run.rights = [.read, .write] }
          guard entry.rights.contains(.read) else { return }
        }
      } else {
        return
      }
      if runCount > 0 {
        let last = runs[runCount - 1]
        if last.address + last.pages << 12 == address, last.way == run.way, last.source == run.source,
          last.rights == run.rights, run.way == .copied || last.frame + UInt32(last.pages) == run.frame
        {
          runs[runCount - 1].pages += 1
          return
        }
      }
      guard runCount < Self.mostRuns else {
        hasFailed = .noSpace
        return
      }
      runs[runCount] = run
      runCount += 1
    }
  }
#endif
