import ExosIPC
import GuestRuntime
import LibOS

/// Two children that work together: one offers a gate, the other measures and leaves its figures in a page that all share. Their
/// parent sleeps meanwhile.
struct Duo {
  /// Words of the shared page: handles that the parent or the server hands over, what is to be done, and the figures.
  enum Word {
    static let peerOfServer = 0, peerOfClient = 1, gate = 2, count = 3, ticks = 4, operations = 5, free = 16
    /// Two lines, one each way.
    static let mail = 64
  }

  static var address: UInt64 { 0x6000_0000_0000 }
  static var words: UnsafeMutablePointer<UInt64> {
    UnsafeMutablePointer(bitPattern: UInt(address)).unsafelyUnwrapped
  }
  static func load(_ word: Int) -> UInt64 { exo_load64(address + UInt64(word) * 8) }
  static func store(_ word: Int, _ value: UInt64) { exo_store64(address + UInt64(word) * 8, value) }

  /// Where a pipe's frames lie that both were given.
  static var pipe: UInt64 { 0x6100_0000_0000 }

  /// Runs the two until the client has ended; its figures, if it exited with 0.
  /// - Parameters:
  ///   - pipe: one to map in both.
  ///   - reading: looks at the shared page when the client has ended.
  static func run(
    _ command: Command, serverOn: UInt64 = 0, pipe frames: PipeFrames? = nil, server: Child.Body,
    client: Child.Body, reading: () -> Void = {}
  ) -> Timing? {
    Board.with { (board) throws(ExocallError) in
      words[Word.count] = command.count
      let quota = EnvironmentQuota(frames: 96, bindings: 8)
      var first = try Child.make(quota, on: serverOn, server)
      defer { first.end() }
      var second = try Child.make(quota, on: 0, client)
      defer { second.end() }
      try board.give(to: first)
      try board.give(to: second)
      if let frames {
        try frames.map(in: first.environment, at: pipe)
        try frames.map(in: second.environment, at: pipe)
      }
      words[Word.peerOfServer] = try second.environment.capability.grant(to: first.environment, .deliver)
        .handle
      words[Word.peerOfClient] = try first.environment.capability.grant(to: second.environment, .deliver)
        .handle
      try first.start()
      try second.start()
      let timing = try figures(of: second)
      reading()
      return timing
    }
  }

  /// The same with one child.
  static func alone(_ command: Command, _ quota: EnvironmentQuota, _ body: Child.Body) -> Timing? {
    Board.with { (board) throws(ExocallError) in
      words[Word.count] = command.count
      var child = try Child.make(quota, on: 0, body)
      defer { child.end() }
      try board.give(to: child)
      try child.start()
      return try figures(of: child)
    }
  }

  private static func figures(of child: Child) throws(ExocallError) -> Timing? {
    let end = try child.watch.wait()
    guard end == .exited(status: 0) else { return Refusal.because("an environment \(end)") }
    return Timing(words[Word.ticks], words[Word.operations])
  }

  // --- in the children

  static func offer(_ gate: Gate) throws(ExocallError) {
    let client = Environment(capability: Capability(handle: load(Word.peerOfServer)), number: 0)
    store(Word.gate, try gate.capability.grant(to: client, .call).handle)
  }
  static func connect() throws(ExocallError) -> Connection {
    while load(Word.gate) == 0 { exo_yield(Startup.page.pointee.doorbell, 0) }
    return try Connection.open(Capability(handle: load(Word.gate)))
  }
  static func report(_ timing: Timing) -> Int32 {
    words[Word.ticks] = timing.ticks
    words[Word.operations] = timing.operations
    return 0
  }
}
