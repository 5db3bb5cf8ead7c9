#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// A process that was run to its end on its maker's time, and can be made what it was before for the next of its image: the
  /// environment stays, with its page tables and what the host has learnt of them.
  struct RestingProcess {
    private let image: ImageLibrary.Image
    private let quota: EnvironmentQuota
    private let stackPages: UInt64
    private var parts: ProcessBuilder
    /// What it is entered by; nil if it can only be started.
    private let connection: Connection?
    private let record: Int

    /// How many are kept, of any images: those that were run last.
    private static var most: Int { 4 }
    nonisolated(unsafe) private static var kept: [RestingProcess] = []

    /// Chunks of the heap, one for each size of objects, that it need not ask for.
    private static var heapChunks: Int { 12 }

    /// A new one.
    /// - Throws: as `Process.prepare`, with nothing left of it.
    init(
      _ image: ImageLibrary.Image, from library: Library, _ options: Process.Options, _ bytes: [UInt8]
    ) throws(ExocallError) {
      (self.image, quota, stackPages) = (image, options.quota, options.stackPages)
      var options = options
      options.processor = Environment.ownProcessor
      var parts = try ProcessBuilder(image, from: library, options)
      do throws(ExocallError) {
        // What it is not given it asks for.
        try? parts.addHeap(chunks: Self.heapChunks, pagesOfEach: 2)
        record = parts.blocks.count
        let isWhole = try parts.add(record: bytes) == 1
        connection =
          isWhole
          ? try? parts.environment.ready(at: image.entry, stack: Startup.page.pointee.stack_top) : nil
      } catch {
        parts.discard()
        throw error
      }
      self.parts = parts
    }

    /// One that rests, and begins anew; nil if there is none.
    static func taken(
      for image: ImageLibrary.Image, _ options: Process.Options, _ bytes: [UInt8]
    ) -> RestingProcess? {
      while var process = taken(where: { $0.suits(image, options, bytes.count) }) {
        if process.renew(bytes) { return process }
        process.discard()
      }
      return nil
    }
    private static func taken(where suits: (RestingProcess) -> Bool) -> RestingProcess? {
      Events.masked { kept.lastIndex(where: suits).map { kept.remove(at: $0) } }
    }

    private func suits(_ image: ImageLibrary.Image, _ options: Process.Options, _ bytes: Int) -> Bool {
      self.image.entry == image.entry && quota == options.quota && stackPages == options.stackPages
        && bytes <= Int(parts.blocks[record].pages) << 12 && self.image.segments == image.segments
    }

    /// False if something lasts of what it did, or its memory was taken back.
    private mutating func renew(_ bytes: [UInt8]) -> Bool {
      guard parts.areBlocksWhole else { return false }
      parts.refill()
      bytes.withUnsafeBytes {
        parts.blocks[record].fill(from: $0.baseAddress.unsafelyUnwrapped, count: bytes.count)
      }
      let top = Startup.page.pointee.stack_top
      return (try? parts.environment.ready(at: image.entry, stack: top)) != nil
    }

    /// Runs it to its end, and keeps it if it can rest.
    consuming func run() throws(ExocallError) -> EnvironmentEnd {
      let environment = parts.environment
      do throws(ExocallError) {
        if let connection {
          switch environment.visit(connection) {
          case .returned(let status):
            rest()
            return .exited(status: status)
          case .goesOn: break
          // It has ended in a way of its own, unless this is its end.
          case .lost: try? environment.end(status: 255)
          }
        } else {
          try environment.start(at: image.entry, stack: Startup.page.pointee.stack_top)
        }
        let end = try environment.watch().wait()
        discard()
        return end
      } catch {
        discard()
        throw error
      }
    }

    private consuming func rest() {
      let process = self
      let surplus = Events.masked { () -> RestingProcess? in
        Self.kept.append(process)
        return Self.kept.count > Self.most ? Self.kept.removeFirst() : nil
      }
      surplus?.discard()
    }

    private func discard() {
      parts.discard(keepingBlocks: true)
      try? connection?.close()
    }

    /// Gives up those that rest; whether there were any.
    static func trim() -> Bool {
      let given = Events.masked { () -> [RestingProcess] in
        defer { kept = [] }
        return kept
      }
      for process in given { process.discard() }
      return !given.isEmpty
    }
    /// In a forked child, to which nothing of this belongs.
    static func beginForked() { kept = [] }
  }

  extension Process {
    /// Runs a process to its end: it begins on this environment's virtual processor and time, and needs none of its own unless it waits
    /// for something or takes longer than a slice. Meanwhile this environment waits. One after the other of the same image costs a fraction
    /// of what `prepare`, `start` and `wait` do. With `options.memory` or `options.processor` that is what this does.
    /// - Returns: how it ended.
    /// - Throws: as `prepare`, `start` and `wait`.
    public static func run(
      _ image: ImageLibrary.Image, from library: Library, _ record: ProcessRecord,
      _ options: Options = Options()
    ) throws(ProcessError) -> EnvironmentEnd {
      if options.memory.isEmpty, options.processor == nil {
        guard let bytes = record.encoded() else { throw .badArguments }
        do throws(ExocallError) {
          if let process = RestingProcess.taken(for: image, options, bytes) { return try process.run() }
          return try RestingProcess(image, from: library, options, bytes).run()
        } catch { throw .exocall(error) }
      }
      var process = try prepare(image, from: library, options)
      do throws(ProcessError) { try process.start(image, record) } catch {
        process.release()
        throw error
      }
      do throws(ExocallError) { return try process.wait() } catch { throw .exocall(error) }
    }
  }
#endif
