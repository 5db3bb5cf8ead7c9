import ExoABI
import ExosIPC
import GuestRuntime
import LibOS

/// Two children that share a page of words, know each other, and have a connection from the second to the first.
struct Company {
  enum Word { static let firstOfSecond = 0, secondOfFirst = 1, gate = 2, apart = 3, free = 8 }

  static var address: UInt64 { 0x6000_0000_0000 }
  /// Where the parent maps a pipe's frames for both.
  static var pipe: UInt64 { 0x6100_0000_0000 }

  static subscript(word: Int) -> UInt64 {
    get { exo_load64(address + UInt64(word) * 8) }
    set { exo_store64(address + UInt64(word) * 8, newValue) }
  }

  private let frame: Capability
  /// Where the parent has the page of words.
  private let here: UInt64
  var first: Child
  var second: Child

  /// - Parameter apart: on two processors, if there are two.
  static func make(
    apart: Bool, slot: UInt64 = 0, argument: UInt64 = 0, _ first: Child.Body, _ second: Child.Body
  ) throws(ExocallError) -> Company {
    let frame = try Exocall.frameAllocate(count: 1).owner
    let here = address + slot << 16
    try frame.map(at: here, pages: 1, [.read, .write])
    let quota = EnvironmentQuota(frames: 160, capabilities: 96, bindings: 16)
    let one = try Child.make(quota, on: 0, argument: argument, first)
    var isApart = apart
    let two: Child
    do throws(ExocallError) {
      two = try Child.make(quota, on: apart ? 1 : 0, argument: argument, second)
    } catch {
      // There is but one processor.
      guard apart, error == .invalid else { throw error }
      isApart = false
      two = try Child.make(quota, on: 0, argument: argument, second)
    }
    let company = Company(frame: frame, here: here, first: one, second: two)
    for child in [one, two] { try child.environment.map(frame, at: address, pages: 1, [.read, .write]) }
    let rights: CapabilityRights = [.deliver, .inspect]
    company.store(
      Word.firstOfSecond, try one.environment.capability.grant(to: two.environment, rights).handle)
    company.store(
      Word.secondOfFirst, try two.environment.capability.grant(to: one.environment, rights).handle)
    company.store(Word.apart, isApart ? 1 : 0)
    return company
  }

  func start() throws(ExocallError) {
    try first.start()
    try second.start()
  }
  mutating func finish() {
    first.release()
    second.release()
    try? Exocall.unmap(here, pages: 1)
    try? frame.drop()
  }
  func load(_ word: Int) -> UInt64 { exo_load64(here + UInt64(word) * 8) }
  func store(_ word: Int, _ value: UInt64) { exo_store64(here + UInt64(word) * 8, value) }

  // --- in the children

  /// The other one, as a pipe's end knows it.
  static func peer(_ word: Int) throws(ExocallError) -> PipePeer {
    let environment = Environment(capability: Capability(handle: Company[word]), number: 0)
    return try PipePeer(environment, isLocal: Company[Word.apart] == 0)
  }
  /// The first waits for the second to connect.
  static func accept() throws(ExocallError) -> Connection {
    let gate = try Gate.create()
    let second = Environment(capability: Capability(handle: Company[Word.secondOfFirst]), number: 0)
    Company[Word.gate] = try gate.capability.grant(to: second, .call).handle
    while true {
      Events.wait()
      if let event = Events.poll(), event.kind == Events.Kind.gate.rawValue {
        return Connection(accepted: event.data, isLocal: Company[Word.apart] == 0)
      }
    }
  }
  static func connect() throws(ExocallError) -> Connection {
    while Company[Word.gate] == 0 { exo_yield(Startup.page.pointee.doorbell, 0) }
    return try Connection.open(Capability(handle: Company[Word.gate]))
  }
}

/// Time for another environment to do something.
func pause(_ nanoseconds: UInt64) {
  let end = Clock.now + nanoseconds
  while Clock.now < end { exo_yield(Startup.page.pointee.doorbell, 0) }
}

/// What became of an attempt.
func failure<Failure: Error>(_ body: () throws(Failure) -> Void) -> Failure? {
  do throws(Failure) {
    try body()
    return nil
  } catch { return error }
}

extension Promises {
  /// That an environment has exited with 0.
  static func check(_ end: EnvironmentEnd, _ promise: String) {
    check(end == .exited(status: 0), end == .exited(status: 0) ? promise : "\(promise): it \(end)")
  }
}
