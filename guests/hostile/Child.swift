import ExoABI
import HostileSupport
import LibOS

/// A child environment that runs one of the programs of HostileSupport: it has the image's text, one page of stack and
/// what it is given, but none of this environment's data.
struct Child {
  let handle: UInt64
  let number: UInt64
  let stack: Pages
  private var ended: RingTicket?

  /// How a child ended: EXO_ENDED_* and its values.
  struct End: Equatable {
    var how: Int64
    var value: UInt64
    var address: UInt64
    static func exited(_ status: UInt64) -> End {
      End(how: Int64(EXO_ENDED_EXITED), value: status, address: 0)
    }
    static func killed(_ status: UInt64) -> End {
      End(how: Int64(EXO_ENDED_KILLED), value: status, address: 0)
    }
    static func faulted(_ vector: UInt64, at address: UInt64 = 0) -> End {
      End(how: Int64(EXO_ENDED_FAULTED), value: vector, address: address)
    }
    static var misused: End { End(how: Int64(EXO_ENDED_MISUSED), value: 0, address: 0) }
    var text: String { "end \(how), value \(value), address \(address)" }
  }

  init(frames: UInt64 = 64, capabilities: UInt64 = 64, bindings: UInt64 = 16, environments: UInt64 = 0) {
    let answer = exocall(
      RingRequest(EXO_CALL_environment_create.rawValue, frames, capabilities, bindings, environments))
    guard answer.result > 0 else { unable("no child: \(answer.result)") }
    handle = UInt64(answer.result)
    number = answer.values.0
    stack = Pages(1)
    for part in ChildText.parts { give(part.pages, at: part.address, Allow.code) }
    give(stack, at: Place.childStack - 4096, Allow.write)
  }

  /// Maps pages in the child, with a capability to them for as long as they stay this environment's.
  func give(_ pages: Pages, at address: UInt64, _ rights: UInt64) {
    let result = exocall(
      EXO_CALL_environment_map, handle, pages.capability, address, pages.count << 32, rights)
    if result != 0 { unable("mapping in a child: \(result)") }
  }

  mutating func start(_ program: hostile_program, _ argument: UInt64 = 0) {
    start(at: hostile_entry(program.rawValue), argument)
  }
  mutating func start(at entry: UInt64, _ argument: UInt64 = 0) {
    ended = machineRing.submit(RingRequest(EXO_CALL_environment_wait.rawValue, handle))
    // As if called: the stack is 8 bytes off a multiple of 16, and whoever returns goes to address 0.
    let result = exocall(
      EXO_CALL_environment_start, handle, entry, Place.childStack - 8, argument)
    if result != 0 || ended == nil { unable("starting a child: \(result)") }
  }

  /// Waits for its end, and gives up what this environment had for it.
  mutating func wait() -> End {
    let end = waitForEnd()
    discard()
    return end
  }
  mutating func waitForEnd() -> End {
    guard let ended, let answer = machineRing.wait(ended) else { unable("a child's end is lost") }
    self.ended = nil
    return End(how: answer.result, value: answer.values.0, address: answer.values.1)
  }
  func discard() {
    exocall(EXO_CALL_capability_drop, handle)
    exocall(EXO_CALL_frame_free, stack.capability)
  }

  /// Runs a program in a child of its own to its end.
  static func run(_ program: hostile_program, _ argument: UInt64 = 0) -> End {
    var child = Child()
    child.start(program, argument)
    return child.wait()
  }
}

/// The image's headers, constants and text in frames that may be given away, each part of frames side by side.
enum ChildText {
  struct Part {
    let address: UInt64
    let pages: Pages
  }
  nonisolated(unsafe) private static var copied: [Part] = []

  static var parts: [Part] {
    if copied.isEmpty {
      let start = hostile_text_start()
      let count = (hostile_text_end() - start + 4095) >> 12
      let pages = Pages(count).map(at: Place.text)
      word(Place.text).update(from: word(start), count: Int(count) * 512)
      copied = [Part(address: start, pages: pages)]
    }
    return copied
  }
}

/// A page shared with a child.
struct Mailbox {
  let pages: Pages
  var address: UInt64 { Place.mailbox }

  init() { pages = Pages(1).map(at: Place.mailbox) }

  var box: UnsafeMutablePointer<hostile_mailbox> {
    UnsafeMutableRawPointer(word(address)).assumingMemoryBound(to: hostile_mailbox.self)
  }
  var flag: UInt64 {
    get { hostile_read(address) }
    nonmutating set { hostile_write(address, newValue) }
  }
  subscript(index: Int) -> UInt64 {
    get { hostile_read(address + 8 + UInt64(index) * 8) }
    nonmutating set { hostile_write(address + 8 + UInt64(index) * 8, newValue) }
  }

  func clear() { word(address).update(repeating: 0, count: 512) }

  /// Waits until the child has said so much; false if that takes too long.
  func wait(for value: UInt64, _ limit: UInt64 = patience) -> Bool {
    let end = milliseconds() + limit
    while flag != value { if milliseconds() > end { return false } }
    return true
  }
}
