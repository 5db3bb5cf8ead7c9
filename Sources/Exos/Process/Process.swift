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
        let builder = try ProcessBuilder(image, from: library, options)
        do throws(ExocallError) {
          return Process(of: builder, watch: try builder.environment.watch())
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
        _ = try parts.add(record: bytes)
        try environment.start(at: image.entry, stack: Startup.page.pointee.stack_top)
      } catch { throw .exocall(error) }
    }

    /// Gives up what is kept of processes that have ended for the next: at most 512 KiB of memory, and the `run` ones that rest.
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
    /// What blocks of the image begin with.
    private var contents: [(block: Int, source: UnsafeRawPointer, count: Int)] = []

    package init(environment: Environment) { self.environment = environment }

    /// Everything but the record.
    init(
      _ image: ImageLibrary.Image, from library: Library, _ options: Process.Options
    ) throws(ExocallError) {
      environment = try Environment.create(options.quota, on: options.processor)
      do throws(ExocallError) {
        for segment in image.segments { try add(segment, from: library) }
        try addFresh(
          at: Startup.page.pointee.stack_top - options.stackPages << 12, pages: options.stackPages)
        for part in options.memory {
          try environment.map(part.frames, at: part.address, pages: part.pages, part.rights)
        }
      } catch {
        discard()
        throw error
      }
    }

    /// The record, in blocks of its own. Returns how many.
    mutating func add(record bytes: [UInt8]) throws(ExocallError) -> Int {
      let before = blocks.count
      try bytes.withUnsafeBufferPointer { (bytes) throws(ExocallError) in
        try addCopy(
          at: ProcessRecord.address, pages: UInt64(bytes.count + 4095) >> 12, rights: .read,
          UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped), bytes.count)
      }
      return blocks.count - before
    }

    mutating func add(_ segment: ImageLibrary.Segment, from library: Library) throws(ExocallError) {
      if !segment.rights.contains(.write) {
        return try environment.map(
          library.frames, page: segment.first, at: segment.address, pages: segment.pages, segment.rights)
      }
      let source = UnsafeRawPointer(bitPattern: UInt(library.images.base + segment.first << 12))
        .unsafelyUnwrapped
      let first = blocks.count
      try addCopy(
        at: segment.address, pages: segment.given, rights: [.read, .write], source, Int(segment.given) << 12)
      var done = 0
      for block in first..<blocks.count {
        contents.append((block, source + done, Int(blocks[block].pages) << 12))
        done += Int(blocks[block].pages) << 12
      }
      try addFresh(at: segment.address + segment.given << 12, pages: segment.pages - segment.given)
    }

    /// Pages for the beginnings of the heap's first chunks, so that a process with little on its heap asks for none.
    mutating func addHeap(chunks: Int, pagesOfEach: UInt64) throws(ExocallError) {
      let grant = try Exocall.frameAllocate(count: UInt64(chunks) * pagesOfEach)
      frames.append(grant.owner)
      for chunk in 0..<Int(grant.count / pagesOfEach) {
        try environment.map(
          grant.owner, page: UInt64(chunk) * pagesOfEach, at: Heap.chunk(chunk), pages: pagesOfEach,
          [.read, .write])
      }
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

    /// False once frames have been taken back (`Revocation.repossession`).
    var areBlocksWhole: Bool { blocks.allSatisfy { ProcessMemory.isWhole($0) } }

    /// Gives the image's data its first values again.
    mutating func refill() {
      for part in contents { blocks[part.block].fill(from: part.source, count: part.count) }
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
