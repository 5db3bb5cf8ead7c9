#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// An environment made of this one's own image. It shares text and constants, has data and a stack of its own, and
  /// begins in a function.
  ///
  /// Its initialised globals are as they stand here when it is made, all others zero; so a global must not refer to this
  /// environment's heap, which the child does not have. Its first heap is empty, its output goes where ours does, it has
  /// no arguments and no input. For exceptions and events it takes stacks of its own, for which its quota has to allow.
  public struct Child {
    /// What it runs: gets its argument, and gives the status to exit with.
    public typealias Body = @convention(c) (_ argument: UInt64) -> Int32

    public let environment: Environment
    /// Tells how it ends.
    public let watch: EnvironmentWatch
    /// Its data and stack, which this environment owns.
    private var frames: [Capability]

    /// Makes a child without starting it, so that more may be put into it.
    /// - Parameters:
    ///   - quota: has to cover the child's page tables (about ten frames) and, with `mayHaveChildren`, two
    ///     capabilities for each run of frames of the image instead of one.
    ///   - processor: which of the machine's it runs on; nil for any.
    ///   - stackPages: pages of its stack.
    ///   - mayHaveChildren: it gets capabilities to the image that it can hand on.
    ///   - argument: what its function is given.
    ///   - body: the function it begins in.
    /// - Throws: what the exocalls it takes throw. Nothing is left of it then.
    public static func make(
      _ quota: EnvironmentQuota, on processor: UInt64? = nil, stackPages: UInt64 = 16,
      mayHaveChildren: Bool = false, argument: UInt64 = 0, _ body: Body
    ) throws(ExocallError) -> Child {
      let environment = try Environment.create(quota, on: processor)
      var builder = ChildBuilder(environment: environment)
      do throws(ExocallError) {
        try builder.addImage(mayHaveChildren: mayHaveChildren)
        try builder.addStack(
          pages: stackPages, ChildRecord(body: unsafeBitCast(body, to: UInt.self), argument: argument))
        return Child(
          environment: environment, watch: try environment.watch(), frames: builder.frames)
      } catch {
        builder.discard()
        throw error
      }
    }

    /// Starts it.
    /// - Throws: see `Environment.start`.
    public func start() throws(ExocallError) {
      try environment.start(at: Self.entry, stack: Self.stack, argument: Self.record)
    }

    /// Makes one that was not started, and is on this environment's processor, ready to be entered with `visit`.
    /// - Throws: see `Environment.ready`.
    public func ready() throws(ExocallError) -> Connection {
      try environment.ready(at: Self.entry, stack: Self.stack)
    }

    /// Runs it on this environment's virtual processor and time, for as long as it waits for nothing.
    /// - Parameter connection: from `ready`.
    public func visit(_ connection: Connection) -> Visit {
      environment.visit(connection, argument: Self.record)
    }

    private static var entry: UInt64 { exo_child_entry() }
    private static var record: UInt64 { Startup.page.pointee.stack_top - UInt64(ChildRecord.reserved) }
    // As after a call: the word under the stack pointer is the return address, here 0.
    private static var stack: UInt64 { record - 8 }

    /// Waits for its end and gives back what this environment had lent it.
    /// - Throws: see `EnvironmentWatch.wait`.
    public mutating func wait() throws(ExocallError) -> EnvironmentEnd {
      let end = try watch.wait()
      release()
      return end
    }

    /// Gives up the capability to it, which ends it if it lives, its data and stack, and the answer that tells its end.
    public mutating func release() {
      watch.cancel()
      ChildBuilder(environment: environment, frames: frames).discard()
      frames = []
    }
  }

  /// What the top of a child's stack holds.
  private struct ChildRecord {
    var body: UInt
    var argument: UInt64
    static var reserved: Int { 64 }
  }

  /// Puts an image and a stack into an empty environment.
  private struct ChildBuilder {
    let environment: Environment
    var frames: [Capability] = []

    /// Where pages lie while they are filled: above the heap's addresses.
    static var window: UInt64 { 0x5000_0000_0000 }

    mutating func addImage(mayHaveChildren: Bool) throws(ExocallError) {
      let header = UnsafeRawPointer(bitPattern: UInt(exo_image_header())).unsafelyUnwrapped
      let sources = grantable()
      for segment in OwnSegments(header: header) {
        if segment.rights.contains(.write) {
          try addCopy(
            at: segment.address, pages: segment.pages, UInt(segment.address), Int(segment.contentBytes))
        } else {
          try share(segment, of: sources, mayHaveChildren: mayHaveChildren)
        }
      }
    }

    mutating func addStack(pages: UInt64, _ record: ChildRecord) throws(ExocallError) {
      let top = Startup.page.pointee.stack_top
      if pages > 1 { try addCopy(at: top - pages << 12, pages: pages - 1, 0, 0) }
      let page = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 16)
      defer { page.deallocate() }
      page.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
      page.storeBytes(of: record, toByteOffset: 4096 - ChildRecord.reserved, as: ChildRecord.self)
      try addCopy(at: top - 4096, pages: 1, UInt(bitPattern: page), 4096)
    }

    /// Fresh pages that begin with a copy of `count` bytes from `source`.
    private mutating func addCopy(
      at address: UInt64, pages: UInt64, _ source: UInt, _ count: Int
    ) throws(ExocallError) {
      var done: UInt64 = 0
      while done < pages {
        let grant = try Exocall.frameAllocate(count: pages - done)
        frames.append(grant.owner)
        let from = Int(done) << 12
        let bytes = min(count - from, Int(grant.count) << 12)
        if bytes > 0 {
          try grant.owner.map(at: Self.window, pages: grant.count, [.read, .write])
          UnsafeMutableRawPointer(bitPattern: UInt(Self.window)).unsafelyUnwrapped.copyMemory(
            from: UnsafeRawPointer(bitPattern: source + UInt(from)).unsafelyUnwrapped, byteCount: bytes)
          try Exocall.unmap(Self.window, pages: grant.count)
        }
        try environment.map(
          grant.owner, at: address + done << 12, pages: grant.count, [.read, .write])
        done += grant.count
      }
    }

    /// Maps the frames behind a segment of ours, run by run: the page table says which they are.
    private func share(
      _ segment: OwnSegment, of sources: [(capability: Capability, names: CapabilityDescription)],
      mayHaveChildren: Bool
    ) throws(ExocallError) {
      func frame(_ page: UInt64) -> UInt32? { PageTables.frame(of: segment.address + page << 12) }
      let wanted = CapabilityRights(segment.rights)
      var page: UInt64 = 0
      while page < segment.pages {
        guard let first = frame(page),
          let source = sources.first(where: {
            $0.names.contains(frame: first) && wanted.isSubset(of: $0.names.rights)
          })
        else { throw .notPermitted }
        var count: UInt64 = 1
        while page + count < segment.pages, let next = frame(page + count),
          next == first + UInt32(count), source.names.contains(frame: next)
        {
          count += 1
        }
        let offset = UInt64(first - source.names.first)
        try environment.map(
          source.capability, page: offset, at: segment.address + page << 12, pages: count,
          segment.rights)
        if mayHaveChildren {
          _ = try source.capability.grant(
            to: environment, wanted.union(.grant), first: offset, pages: count)
        }
        page += count
      }
    }

    /// Capabilities to frames that may be handed on.
    private func grantable() -> [(capability: Capability, names: CapabilityDescription)] {
      Capability.own.compactMap { capability in
        guard let names = try? capability.inspect(), names.kind == .frames,
          names.rights.contains(.grant)
        else { return nil }
        return (capability, names)
      }
    }

    /// Nothing refuses here but what is gone already.
    func discard() {
      try? environment.capability.drop()
      try? Exocall.unmap(Self.window, pages: 1)
      for capability in frames { try? capability.drop() }
    }
  }

  /// Where a child begins.
  @c(exo_child_begin)
  func beginChild(_ start: UnsafePointer<exo_start>, _ record: UnsafeRawPointer) {
    ExceptionStacks.belongsToImage = false
    beginGuest(start)
    let record = record.load(as: ChildRecord.self)
    let body = unsafeBitCast(record.body, to: Child.Body.self)
    exit(body(record.argument))
  }
#endif
