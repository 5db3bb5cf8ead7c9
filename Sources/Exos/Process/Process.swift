#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// Why a process could not be made.
  public enum ProcessError: Error, Equatable, Sendable {
    /// No image has that name, or there is no library.
    case noSuchImage
    /// Arguments and variables are too long, or have a NUL in them.
    case badArguments
    case exocall(ExocallError)
  }

  /// A process: an environment of its own with an image from the library, arguments, variables, streams and what it inherits.
  public struct Process: ~Copyable {
    public var environment: Environment { parts.environment }
    public let watch: EnvironmentWatch
    private var parts: ProcessBuilder
    private var hasEnded = false
    private var whenReleased: (@convention(c) () -> Void)?

    /// - Parameters:
    ///   - parts: what it was made of.
    ///   - whenReleased: called once, when it is given up.
    package init(
      of parts: ProcessBuilder, watch: EnvironmentWatch, whenReleased: (@convention(c) () -> Void)? = nil
    ) {
      self.parts = parts
      self.watch = watch
      self.whenReleased = whenReleased
    }

    /// What a process may have, and where it runs.
    public struct Options {
      public var quota = EnvironmentQuota(frames: 1024, capabilities: 256, bindings: 16)
      /// nil: any.
      public var processor: UInt64?
      public var stackPages: UInt64 = 32
      /// Frames that it gets mapped from the start, its pipes and files for example.
      public var memory: [(frames: Capability, address: UInt64, pages: UInt64, rights: Rights)] = []
      public init() {}
    }

    /// Makes a process, without starting it, so that it can be granted what its record is to name.
    /// - Throws: `noSuchImage`; `exocall` with what the exokernel refused. Nothing is left of it then.
    public static func prepare(
      _ image: ImageLibrary.Image, from library: Library, _ options: Options = Options()
    ) throws(ProcessError) -> Process {
      do throws(ExocallError) {
        let environment = try Environment.create(options.quota, on: options.processor)
        var builder = ProcessBuilder(environment: environment)
        do throws(ExocallError) {
          for segment in image.segments { try builder.add(segment, from: library) }
          try builder.addFresh(
            at: Startup.page.pointee.stack_top - options.stackPages << 12, pages: options.stackPages)
          for part in options.memory {
            try environment.map(part.frames, at: part.address, pages: part.pages, part.rights)
          }
          return Process(of: builder, watch: try environment.watch())
        } catch {
          builder.discard()
          throw error
        }
      } catch { throw .exocall(error) }
    }

    /// Writes its record and starts it.
    public mutating func start(_ image: ImageLibrary.Image, _ record: ProcessRecord) throws(ProcessError) {
      guard let bytes = record.encoded() else { throw .badArguments }
      do throws(ExocallError) {
        try bytes.withUnsafeBufferPointer { (bytes) throws(ExocallError) in
          try parts.addCopy(
            at: ProcessRecord.address, pages: UInt64(bytes.count + 4095) >> 12, rights: .read,
            UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped), bytes.count)
        }
        try environment.start(at: image.entry, stack: Startup.page.pointee.stack_top)
      } catch { throw .exocall(error) }
    }

    /// Gives up the memory of processes that have ended, which is kept for the next: at most 512 KiB.
    public static func trim() { ProcessMemory.trim() }

    /// How it ended; nil while it has not.
    public mutating func poll() -> EnvironmentEnd? {
      guard !hasEnded else { return nil }
      guard let end = try? watch.poll() else { return nil }
      hasEnded = true
      return end
    }

    /// Sleeps until it has ended, and gives back what it was made of.
    public mutating func wait() throws(ExocallError) -> EnvironmentEnd {
      let end = try watch.wait()
      hasEnded = true
      release()
      return end
    }

    /// Gives up the capability to it, which ends it if it lives, and its memory.
    public mutating func release() {
      if !hasEnded { watch.cancel() }
      // One that may still run for a moment must not find its memory another's.
      parts.discard(keepingBlocks: hasEnded)
      parts = ProcessBuilder(environment: environment)
      whenReleased?()
      whenReleased = nil
    }
  }

  /// The images, mapped.
  public struct Library {
    public let images: ImageLibrary
    public let frames: Capability

    /// The library that this environment was started with; nil if none.
    public static func own() -> Library? {
      guard let text = Variables["EXO_IMAGES"] else { return nil }
      var numbers: [UInt64] = [0]
      for byte in text.utf8 {
        if byte == 0x3a {
          numbers.append(0)
        } else {
          numbers[numbers.count - 1] = numbers[numbers.count - 1] &* 10 &+ UInt64(byte &- 0x30)
        }
      }
      guard numbers.count == 2 else { return nil }
      let frames = Capability(handle: numbers[0])
      if PageTables.frame(of: address) == nil {
        guard (try? frames.map(at: address, pages: numbers[1], .read)) != nil else { return nil }
      }
      guard let images = ImageLibrary(at: address, pages: numbers[1]) else { return nil }
      return Library(images: images, frames: frames)
    }
    private static var address: UInt64 { 0x6d00_0000_0000 }
  }

  /// Puts together what a process consists of.
  package struct ProcessBuilder {
    package let environment: Environment
    /// Frames that are given up with the process, and memory that is kept for the next.
    package var frames: [Capability] = []
    package var blocks: [ProcessMemory.Block] = []

    package init(environment: Environment) { self.environment = environment }

    mutating func add(_ segment: ImageLibrary.Segment, from library: Library) throws(ExocallError) {
      if !segment.rights.contains(.write) {
        return try environment.map(
          library.frames, page: segment.first, at: segment.address, pages: segment.pages, segment.rights)
      }
      let source = UnsafeRawPointer(bitPattern: UInt(library.images.base + segment.first << 12))
        .unsafelyUnwrapped
      try addCopy(
        at: segment.address, pages: segment.given, rights: [.read, .write], source, Int(segment.given) << 12)
      try addFresh(at: segment.address + segment.given << 12, pages: segment.pages - segment.given)
    }

    /// Zeroed pages.
    package mutating func addFresh(at address: UInt64, pages: UInt64) throws(ExocallError) {
      var done: UInt64 = 0
      while done < pages {
        let grant = try Exocall.frameAllocate(count: pages - done)
        frames.append(grant.owner)
        try environment.map(grant.owner, at: address + done << 12, pages: grant.count, [.read, .write])
        done += grant.count
      }
    }

    /// Pages that begin with a copy.
    package mutating func addCopy(
      at address: UInt64, pages: UInt64, rights: Rights, _ source: UnsafeRawPointer, _ count: Int
    ) throws(ExocallError) {
      var done: UInt64 = 0
      while done < pages {
        var block = try ProcessMemory.take(pages: pages - done)
        block.fill(
          from: source + Int(done) << 12,
          count: max(0, min(count - Int(done) << 12, Int(block.pages) << 12)))
        blocks.append(block)
        try environment.map(block.owner, at: address + done << 12, pages: block.pages, rights)
        done += block.pages
      }
    }

    /// Nothing refuses here but what is gone already.
    /// - Parameter keepingBlocks: the memory is kept for the next process; this one has ended.
    package func discard(keepingBlocks: Bool = false) {
      try? environment.capability.drop()
      for capability in frames { try? capability.drop() }
      for block in blocks {
        if keepingBlocks { ProcessMemory.giveBack(block) } else { ProcessMemory.discard(block) }
      }
    }
  }
#endif
