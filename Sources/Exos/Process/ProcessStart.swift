#if hasFeature(Embedded)
  import ExoABI
  import ExosIPC
  import GuestRuntime
  import LibOS

  /// What a process does before `main`, and what it knows of itself.
  public enum ProcessSelf {
    nonisolated(unsafe) private static var recordAddress: UInt64 = 0
    nonisolated(unsafe) private static var input: Input?
    nonisolated(unsafe) private static var output: Output?
    nonisolated(unsafe) private static var errorOutput: Output?

    /// The record that this environment was started with; nil if it was not started as a process.
    static var record: ProcessRecord.View? {
      recordAddress == 0 ? nil : ProcessRecord.View(at: recordAddress)
    }

    /// Looks for a record. The memory of such an environment belongs to its maker, so that stacks for exceptions must come from
    /// elsewhere.
    static func attach() {
      guard PageTables.frame(of: ProcessRecord.address) != nil,
        let record = ProcessRecord.View(at: ProcessRecord.address)
      else { return }
      recordAddress = ProcessRecord.address
      (Arguments.given, Variables.given) = (record.arguments, record.variables)
      ExceptionStacks.belongsToImage = false
      // A forked child goes on with the heap that it was copied with.
      if Heap.statistics.pages == 0 { Heap.hasGivenPages = PageTables.frame(of: Heap.chunk(0)) != nil }
      if record.takesSignals { Signals.begin() }
      if record.input != .console {
        Console.input = { bytes in read(into: bytes) }
      }
      if record.output != .console {
        Console.output = { (bytes) throws(ExocallError) in try write(bytes) }
      }
      if let stream = record.errors {
        Console.errors =
          stream == .console
          ? { (bytes) throws(ExocallError) in try Exocall.consoleWrite(bytes) }
          : { (bytes) throws(ExocallError) in try writeErrors(bytes) }
      }
    }

    /// A capability that this process inherited, by the name its maker gave it.
    public static func capability(named name: String) -> Capability? {
      record?.capability(named: name).map { Capability(handle: $0) }
    }
    /// Where what this environment says of errors goes; nil: where its output goes.
    public static var errors: ProcessRecord.Stream? { record.map { $0.errors } ?? .console }
    /// The files that it shares with others.
    public static var files: FileTree? {
      guard let record, record.files.address != 0 else { return nil }
      return FileTree(at: UInt(record.files.address), size: Int(record.files.size))
    }

    private final class Input {
      var pipe: PipeReader?
      var file: (node: FileTree.Node, position: Int)?
      init() {
        guard let record = ProcessSelf.record else { return }
        switch record.input {
        case .pipe(let address, let capacity, let peer):
          pipe = PipeReader(
            PipeFrames.memory(at: address, capacity: Int(capacity)), from: ProcessSelf.peer(peer))
        case .file(let path, _):
          if let node = try? ProcessSelf.files?.find(path) { file = (node, 0) }
        case .console: break
        }
      }
    }
    private final class Output {
      var pipe: PipeWriter?
      var file: FileTree.Node?
      var position = 0
      init(_ stream: ProcessRecord.Stream) {
        switch stream {
        case .pipe(let address, let capacity, let peer):
          pipe = PipeWriter(
            PipeFrames.memory(at: address, capacity: Int(capacity)), to: ProcessSelf.peer(peer))
        case .file(let path, let appends):
          guard let files = ProcessSelf.files, let node = try? files.create(path, .file) else { return }
          file = node
          if appends { position = (try? files.size(node)) ?? 0 } else { try? files.truncate(node) }
        case .console: break
        }
      }
    }
    private static func peer(_ handle: UInt64) -> PipePeer {
      guard handle != 0 else { return .unknown }
      guard handle != ProcessRecord.wakingPeer else { return .waking }
      let environment = Environment(capability: Capability(handle: handle), number: 0)
      return (try? PipePeer(environment, isLocal: false)) ?? .unknown
    }

    /// 0 at the end. A writer that was killed has written all it ever will.
    private static func read(into bytes: UnsafeMutableRawBufferPointer) -> Int {
      if input == nil { input = Input() }
      guard let input else { return 0 }
      if input.pipe != nil { return (try? input.pipe?.read(into: bytes)) ?? 0 }
      guard let file = input.file else { return 0 }
      let count = (try? files?.read(file.node, at: file.position, into: bytes)) ?? 0
      input.file?.position += count
      return count
    }

    private static func write(_ bytes: UnsafeRawBufferPointer) throws(ExocallError) -> Int {
      if output == nil, let record { output = Output(record.output) }
      return try write(bytes, to: output)
    }
    private static func writeErrors(_ bytes: UnsafeRawBufferPointer) throws(ExocallError) -> Int {
      if errorOutput == nil, let stream = record?.errors { errorOutput = Output(stream) }
      return try write(bytes, to: errorOutput)
    }
    private static func write(
      _ bytes: UnsafeRawBufferPointer, to output: Output?
    ) throws(ExocallError) -> Int {
      guard let output else { throw .inputOutput }
      if output.pipe != nil {
        do throws(PipeError) {
          try output.pipe?.write(bytes)
          return bytes.count
        } catch { throw error == .closed || error == .peerEnded ? .closedPipe : .inputOutput }
      }
      guard let file = output.file, let files else { throw .inputOutput }
      do throws(FileError) { try files.write(file, at: output.position, bytes) } catch {
        throw error == .full ? .noSpace : .inputOutput
      }
      output.position += bytes.count
      return bytes.count
    }

    /// Closes the pipes, so that the other ends find the end of the stream. Called at exit, after what was printed was written.
    static func close() {
      guard let record else { return }
      // Also a pipe that was never read from or written to.
      if case .pipe = record.output {
        if output == nil { output = Output(record.output) }
        output?.pipe?.close()
      }
      if let stream = record.errors, case .pipe = stream {
        if errorOutput == nil { errorOutput = Output(stream) }
        errorOutput?.pipe?.close()
      }
      if case .pipe = record.input {
        if input == nil { input = Input() }
        input?.pipe?.close()
      }
      if case .file = record.output, output == nil { output = Output(record.output) }
      if let stream = record.errors, case .file = stream, errorOutput == nil { errorOutput = Output(stream) }
    }
  }

  @c(exo_process_begin)
  func beginProcess() { ProcessSelf.attach() }

  @c(exo_process_end)
  func endProcess() { ProcessSelf.close() }
#endif
