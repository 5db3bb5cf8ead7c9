import GuestRuntime
import LibOS

/// A server with a gate and a client that was given a capability to it: two children that share a page of words with their parent.
struct Pair {
  /// Words of the shared page that the two come together by; tests use those from `free` on.
  enum Word { static let clientOfServer = 0, gateOfClient = 1, secondClient = 2, secondGate = 3, free = 8 }

  let page: SharedPage
  var server: LibOS.Child
  var client: LibOS.Child

  static var words: SharedWords { SharedWords(address: SharedPage.first) }

  /// - Parameter isApart: on two processors where there are two; else on one.
  static func make(
    argument: UInt64 = 0, isApart: Bool = false, server: LibOS.Child.Body, client: LibOS.Child.Body
  ) throws(ExocallError) -> Pair {
    let page = try SharedPage.make()
    let quota = EnvironmentQuota(frames: 64, bindings: 8)
    let there = isApart ? try? LibOS.Child.make(quota, on: 1, argument: argument, client) : nil
    func here() throws(ExocallError) -> LibOS.Child {
      try LibOS.Child.make(quota, on: 0, argument: argument, client)
    }
    let second: LibOS.Child
    if let there { second = there } else { second = try here() }
    let pair = Pair(
      page: page, server: try LibOS.Child.make(quota, on: 0, argument: argument, server), client: second)
    try page.give(to: pair.server, [.read, .write])
    try page.give(to: pair.client, [.read, .write])
    let named = try pair.client.environment.capability.grant(to: pair.server.environment, .deliver)
    page.words[Word.clientOfServer] = named.handle
    return pair
  }

  func start() throws(ExocallError) {
    try server.start()
    try client.start()
  }

  /// Ends both and gives the page back.
  mutating func finish() throws(ExocallError) {
    client.release()
    server.release()
    try page.release()
  }

  // --- in the server

  /// Hands a gate to whoever the parent named.
  static func offer(_ gate: Gate, by name: Int = Word.clientOfServer, at word: Int = Word.gateOfClient)
    throws(ExocallError)
  {
    let client = Environment(capability: Capability(handle: words[name]), number: 0)
    words[word] = try gate.capability.grant(to: client, .call).handle
  }

  // --- in the client

  /// Waits for the gate and connects to it.
  static func connect(at word: Int = Word.gateOfClient) throws(ExocallError) -> Connection {
    guard eventually({ words[word] != 0 }) else { throw .timedOut }
    return try Connection.open(Capability(handle: words[word]))
  }
}
