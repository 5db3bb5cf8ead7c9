#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// Frames of this environment's own that hold a pipe for two others, or for itself and another: a page of words, then the
  /// ring. They last until it gives them up, whatever the ends do.
  public struct PipeFrames {
    private var grants: [(frames: Capability, pages: UInt64)] = []
    /// Bytes of the ring.
    public let capacity: Int

    /// - Parameter capacity: a power of two, of a page at least.
    /// - Throws: as `Exocall.frameAllocate`.
    public init(capacity: Int) throws(ExocallError) {
      precondition(capacity >= 4096 && capacity & (capacity - 1) == 0)
      self.capacity = capacity
      var left = pages
      while left > 0 {
        do throws(ExocallError) {
          let grant = try Exocall.frameAllocate(count: left)
          grants.append((grant.owner, grant.count))
          left -= grant.count
        } catch {
          release()
          throw error
        }
      }
    }

    /// Pages in all.
    public var pages: UInt64 { UInt64(capacity) >> 12 + 1 }

    public static func memory(at address: UInt64, capacity: Int) -> PipeMemory {
      PipeMemory(control: UInt(address), ring: UInt(address) + 4096, capacity: capacity)
    }

    /// Maps it here and makes a pipe of it.
    public func map(at address: UInt64) throws(ExocallError) -> PipeMemory {
      var at = address
      for grant in grants {
        try grant.frames.map(at: at, pages: grant.pages, [.read, .write])
        at += grant.pages << 12
      }
      let memory = Self.memory(at: address, capacity: capacity)
      memory.prepare()
      return memory
    }

    /// Maps it in another environment, for one of the ends.
    public func map(in environment: Environment, at address: UInt64) throws(ExocallError) {
      var at = address
      for grant in grants {
        try environment.map(grant.frames, at: at, pages: grant.pages, [.read, .write])
        at += grant.pages << 12
      }
    }

    /// Gives it up, from whoever has it mapped.
    public mutating func release() {
      for grant in grants { try? grant.frames.drop() }
      grants = []
    }
  }

  extension PipeMemory {
    /// One of the two pipes on a connection's page: from the end that connected to the other, or back. The page is the
    /// exokernel's own and stays until this end closes, so that these need no memory of either's and cannot vanish.
    public static func on(_ connection: Connection, fromCaller: Bool) -> PipeMemory {
      let page = UInt(bitPattern: connection.page)
      let memory = PipeMemory(
        control: page + (fromCaller ? 0 : 512), ring: page + (fromCaller ? 1024 : 2048), capacity: 1024)
      memory.prepare()
      return memory
    }
  }
#endif
