import ExoABI
import ExosIPC
import GuestRuntime
import HostileSupport
import LibOS

/// What is wrong with a message, and when.
private enum Lie: UInt64, CaseIterable {
  /// Anything, at any time.
  case anything
  /// From the start: longer than any message may be, by one byte and by far; more rights; of no kind.
  case longer, longest, rights, mostRights, kind
  /// Honest as it is sent, and changed over and over while it is read: the text, or the length too.
  case text, length
}

extension Attack {
  /// Sender and receiver run at the same time where there are two processors.
  static var changingMessages: Attack {
    Attack("changing-messages", "Changes messages, their lengths and rights under the receiver's feet.") {
      for lie in Lie.allCases {
        // What a race finds it finds by chance.
        for _ in 0..<(lie == .length ? 12 : 1) {
          var pair = mounted(
            argument: lie.rawValue, isApart: true, server: receivingServer, client: changingClient)
          expectEnd(&pair.server, 0, "the receiver of lie \(lie.rawValue)")
          pair.discard()
        }
      }
    }
  }
}

private enum Word { static let received = 20, isOver = 21 }
private let honest: UInt64 = 5

// --- in the children

private func receivingServer(_ argument: UInt64) -> Int32 {
  let lie = Lie(rawValue: argument) ?? .anything
  guard let port = try? Port(), let client = Optional(Pair.words[Pair.Word.clientOfServer]),
    let right = try? port.right.grant(
      to: Environment(capability: Capability(handle: client), number: 0), .call)
  else { return 1 }
  Pair.words[Pair.Word.gateOfClient] = right.handle
  let limit = Clock.now + (lie == .length ? 200_000_000 : lie == .text ? 600_000_000 : 1_500_000_000)
  var got: UInt64 = 0
  while Clock.now < limit {
    guard let message = try? port.receive(until: Clock.now + 20_000_000) else {
      if got > 0, port.senders == 0 { break }
      continue
    }
    if message.text.count > PortFrame.longest || message.rights.count > PortFrame.mostRights { return 2 }
    var sums: (UInt64, UInt64) = (0, 0)
    for byte in message.text { sums.0 = sums.0 &* 31 &+ UInt64(byte) }
    for _ in 0..<100 { exo_pause() }
    for byte in message.text { sums.1 = sums.1 &* 31 &+ UInt64(byte) }
    if sums.0 != sums.1 { return 3 }
    got += 1
    Pair.words[Word.received] = got
  }
  Pair.words[Word.isOver] = 1
  switch lie {
  case .longer, .longest, .rights, .mostRights, .kind:
    // Who breaks the protocol is let go of, and what he sent before has come.
    if port.senders > 0 { return 5 }
    return got == honest ? 0 : 6
  case .text: return port.senders == 1 && got > honest ? 0 : 7
  case .anything, .length: return got > 0 ? 0 : 4
  }
}

private func changingClient(_ argument: UInt64) -> Int32 {
  guard eventually({ Pair.words[Pair.Word.gateOfClient] != 0 }) else { return 1 }
  let gate = Capability(handle: Pair.words[Pair.Word.gateOfClient])
  let lie = Lie(rawValue: argument) ?? .anything
  if lie == .anything { return changeAnything(gate) }
  guard let connection = try? Connection.open(gate) else { return 2 }
  // The stream that messages are written in, without who writes them.
  var stream = Stream(connection)
  switch lie {
  case .longer: stream.lie(text: PortFrame.longest + 1)
  case .longest: stream.lie(text: 0xffff)
  case .rights: stream.lie(text: 24, rights: PortFrame.mostRights + 1)
  case .mostRights: stream.lie(text: 24, rights: 255)
  case .kind: stream.lie(text: 24, kind: 2)
  case .text, .length, .anything:
    while Pair.words[Word.isOver] == 0 { stream.sendChanging(length: lie == .length) }
  }
  return 0
}

private struct Stream: ~Copyable {
  private var writer: PipeWriter
  private let connection: Connection
  private var sent: UInt64 = 0
  private var messages: UInt64 = 0
  private let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 2048, alignment: 16)
  private static var textSize: Int { 120 }

  init(_ connection: Connection) {
    self.connection = connection
    writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
    bytes.initializeMemory(as: UInt8.self, repeating: 0x55)
  }

  private static func header(_ text: Int, _ rights: Int = 0, _ kind: Int = 0) -> UInt64 {
    UInt64(text) | UInt64(rights) << 16 | UInt64(kind) << 24 | 7 << 32
  }
  private mutating func write(_ count: Int, until deadline: UInt64? = nil) -> Bool {
    let written = try? writer.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]), until: deadline)
    sent += UInt64(written ?? 0)
    return written == count
  }

  /// Some honest messages, then this one, with as many bytes behind as the receiver has room for.
  mutating func lie(text: Int, rights: Int = 0, kind: Int = 0) {
    bytes.storeBytes(of: Self.header(24), as: UInt64.self)
    for _ in 0..<honest { _ = write(32) }
    bytes.storeBytes(of: Self.header(text, rights, kind), as: UInt64.self)
    _ = write(8)
    bytes.storeBytes(of: 0x5555_5555_5555_5555, as: UInt64.self)
    _ = write(2048, until: Clock.now + 300_000_000)
    while Pair.words[Word.isOver] == 0 {
      try? connection.signal()
      Wakeup.pause(5_000_000)
    }
  }

  /// A message that is larger than what travels in one line, and then its place in the ring, changed until the receiver is done
  /// with it.
  mutating func sendChanging(length: Bool) {
    let ring = UInt64(UInt(bitPattern: connection.page)) + 1024
    let place = ring + sent % 1024
    bytes.storeBytes(of: Self.header(Self.textSize), as: UInt64.self)
    guard write(8 + Self.textSize, until: Clock.now + 5_000_000) else { return }
    messages += 1
    let isBelieved = length && messages > honest
    var turn: UInt64 = 0
    let limit = Clock.now + 2_000_000
    repeat {
      for _ in 0..<64 {
        turn += 1
        for word in 1..<16 as Range<UInt64> { exo_store64(place + word * 8, turn) }
        guard isBelieved else { continue }
        exo_store64(place, Self.header(0xfff0))
        exo_store64(place, Self.header(Self.textSize))
      }
    } while Pair.words[Word.received] < messages && Clock.now < limit
    exo_store64(place, Self.header(Self.textSize))
  }
}

private func changeAnything(_ gate: Capability) -> Int32 {
  guard let right = try? SendRight(gate) else { return 1 }
  let text = UnsafeMutableRawBufferPointer.allocate(byteCount: 700, alignment: 16)
  text.initializeMemory(as: UInt8.self, repeating: 0x55)
  let ring = UInt64(UInt(bitPattern: Connection(accepted: 0).page)) + 1024
  var numbers = Numbers(state: 5)
  var sent = 0
  while true {
    let size = Int(numbers.next() % 700)
    if (try? right.send(
      id: UInt32(sent), UnsafeRawBufferPointer(rebasing: text[..<size]), until: Clock.now + 1_000_000)) != nil
    {
      sent += 1
    }
    // Honest for a while, so that there is something to change.
    guard sent > 20 else { continue }
    for _ in 0..<20 {
      let number = numbers.next()
      exo_store64(ring + number % 128 * 8, number & 3 == 0 ? numbers.next() : number >> 40)
    }
    if right.isDead { return 0 }
  }
}
