import ExoABI
import GuestRuntime
import LibOS

/// A page that this environment shares with the children of one row, at the address where `Duo` looks for its words.
struct Board {
  let frame: Capability

  /// Runs `body` with a page of zeros.
  static func with(_ body: (Board) throws(ExocallError) -> Timing?) -> Timing? {
    do throws(ExocallError) {
      let board = Board(frame: try Exocall.frameAllocate(count: 1).owner)
      defer { try? board.frame.drop() }
      try board.frame.map(at: Duo.address, pages: 1, [.read, .write])
      defer { try? Exocall.unmap(Duo.address, pages: 1) }
      for word in 0..<512 { Duo.words[word] = 0 }
      return try body(board)
    } catch { return Refusal.of(error) }
  }

  func give(to child: Child) throws(ExocallError) {
    try child.environment.map(frame, at: Duo.address, pages: 1, [.read, .write])
  }
}

extension Child {
  /// Ends it, if it has not ended, and gives back what it was lent once it has.
  mutating func end() {
    try? environment.end(status: 0)
    if (try? wait()) == nil { release() }
  }
}
