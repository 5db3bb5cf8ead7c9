import ExosMemory
import GuestRuntime
import LibOS

/// A region that two environments see as one though each has frames of its own: a page is written where it is alone, read
/// where copies are, and moves by faults (Li and Hudak, Memory Coherence in Shared Virtual Memory Systems, 1989).
///
/// All they share is a control page and a page each way for contents. Messages announce requests; whoever waits for an answer
/// looks for requests meanwhile. Where both ask for the same page at once, the one called home goes first. Whoever got a page
/// keeps it for a moment, or it might be gone again before the access that it was fetched for (Fleisch and Popek, Mirage, 1989).
///
///     asks: store page and kind, then request = n   --message-->   serves: lowers its own rights, copies the page,
///     waits for reply = n, takes the page           <----------    then reply = n
struct CoherentRegion {
  static let start: UInt64 = 0x6500_0000_0000
  /// The control page, and behind it the pages that contents pass through.
  static let control: UInt64 = 0x6600_0000_0000
  static let pages = 8

  enum State { case invalid, shared, alone }

  nonisolated(unsafe) private static var me = 0
  nonisolated(unsafe) private static var peer: UInt64 = 0
  nonisolated(unsafe) private static var states: [State] = []
  nonisolated(unsafe) private static var asked: UInt64 = 0
  nonisolated(unsafe) private static var served: UInt64 = 0
  /// The page this environment has a request out for.
  nonisolated(unsafe) private static var wanted: Int?
  /// The page that came last, and until when it stays.
  nonisolated(unsafe) private static var kept: (page: Int, until: UInt64) = (-1, 0)
  nonisolated(unsafe) private static var armed: UInt64 = 0
  nonisolated(unsafe) static var statistics = (asked: 0, served: 0)
  private static let window: UInt64 = 100_000

  // Words of the control page, eight for each environment.
  private static let shared = SharedWords(address: control)
  private static func place(_ who: Int, _ word: Int) -> Int { who * 8 + word }
  private static var request: Int { 0 }
  private static var page: Int { 1 }
  private static var isWrite: Int { 2 }
  private static var reply: Int { 3 }
  private static var hasContent: Int { 4 }

  /// Takes part in the region.
  /// - Parameters:
  ///   - me: 0 for home, which has all pages at first; 1 for the other.
  ///   - peer: capability to the other environment, for messages.
  static func join(_ me: Int, peer: UInt64) throws(ExocallError) {
    self.me = me
    self.peer = peer
    states = Array(repeating: me == 0 ? .alone : .invalid, count: pages)
    var mapped: UInt64 = 0
    while mapped < pages {
      let grant = try Exocall.frameAllocate(count: UInt64(pages) - mapped)
      try grant.owner.map(at: start + mapped << 12, pages: grant.count, [.read, .write])
      mapped += grant.count
    }
    if me != 0 { try Exocall.protect(start, pages: UInt64(pages), rights: []) }
    try PageFaults.bind { fault, _ in
      guard fault.address >= start, fault.address < start + UInt64(pages) << 12 else {
        return PageFaults.giveUp()
      }
      Events.masked { obtain(Int((fault.address - start) >> 12), forWriting: fault.isWrite) }
    }
    try Events.bind([.message, .timer]) { _ in serve() }
  }

  /// Asks for a page and waits, serving the other meanwhile.
  private static func obtain(_ number: Int, forWriting: Bool) {
    if states[number] == .alone || (states[number] == .shared && !forWriting) { return }
    statistics.asked += 1
    asked += 1
    wanted = number
    shared[place(me, page)] = UInt64(number)
    shared[place(me, isWrite)] = forWriting ? 1 : 0
    shared[place(me, request)] = asked
    try? Events.post(asked, to: peer)
    var turns = 0
    while shared[place(me, reply)] != asked {
      serve()
      exo_pause()
      turns += 1
      if turns % 2000 == 0 { Slices.yield() }
    }
    wanted = nil
    setRights(number, [.read, .write])
    if shared[place(me, hasContent)] != 0 { copy(from: transfer(1 - me), to: address(number)) }
    states[number] = forWriting ? .alone : .shared
    if !forWriting { setRights(number, .read) }
    kept = (number, Clock.now + window)
  }

  /// Answers what the other has asked for.
  private static func serve() {
    let other = 1 - me
    let number = shared[place(other, request)]
    guard number != served else { return }
    let index = Int(shared[place(other, page)])
    guard index < pages else { return }
    // Home's own request for the same page comes first; this one stays until it has been answered. And what has been granted
    // is taken before it is asked back: until then `states` still tells what this environment had before.
    if wanted == index, me == 0 || shared[place(me, reply)] == asked { return }
    if kept.page == index, Clock.now < kept.until {
      if armed <= Clock.now {
        armed = kept.until
        Events.setTimer(at: armed)
      }
      return
    }
    served = number
    statistics.served += 1
    let forWriting = shared[place(other, isWrite)] != 0
    let isMine = states[index] != .invalid
    if isMine {
      // Nothing may be written to it while it is copied.
      setRights(index, .read)
      copy(from: address(index), to: transfer(me))
    }
    states[index] = forWriting ? .invalid : isMine ? .shared : .invalid
    if forWriting { setRights(index, []) }
    shared[place(other, hasContent)] = isMine ? 1 : 0
    shared[place(other, reply)] = number
  }

  /// What came for home while it was waiting is answered at its next access or message.
  static func settle() { Events.masked { serve() } }

  private static func address(_ number: Int) -> UInt64 { start + UInt64(number) << 12 }
  private static func transfer(_ who: Int) -> UInt64 { control + UInt64(1 + who) << 12 }
  private static func setRights(_ number: Int, _ rights: Rights) {
    try? Exocall.protect(address(number), pages: 1, rights: rights)
  }
  private static func copy(from: UInt64, to: UInt64) {
    guard let source = UnsafeRawPointer(bitPattern: UInt(from)),
      let target = UnsafeMutableRawPointer(bitPattern: UInt(to))
    else { return }
    target.copyMemory(from: source, byteCount: 4096)
  }
}

/// What both of them do: take turns by a word that both read, and add to a word that both write.
private func takePart(_ argument: UInt64) -> Int32 {
  let me = argument & 1
  // The capability to the other one is known once both exist.
  let others = Capability.own.filter { (try? $0.inspect())?.kind == .environment }
  guard let peer = others.first, (try? CoherentRegion.join(Int(me), peer: peer.handle)) != nil else {
    return 1
  }
  // Each waits until the other is there.
  let control = SharedWords(address: CoherentRegion.control)
  control[32 + Int(me)] = 1
  while control[32 + Int(1 - me)] == 0 { Slices.yield() }
  let words = SharedWords(address: CoherentRegion.start)
  let rounds: UInt64 = 60
  let turn = 0
  let sum = 512
  for _ in 0..<rounds {
    var looks = 0
    while words[turn] != me {
      CoherentRegion.settle()
      looks += 1
      if looks % 200 == 0 { Slices.yield() }
    }
    words[sum] += 1
    words[1024 + Int(me)] += me + 1
    words[turn] = 1 - me
  }
  // The last word of each is read by the other.
  control[40 + Int(me)] = 1
  while control[40 + Int(1 - me)] == 0 {
    CoherentRegion.settle()
    Slices.yield()
  }
  let isRight = words[sum] == 2 * rounds && words[1024] == rounds && words[1025] == 2 * rounds
  control[48 + Int(me)] = UInt64(CoherentRegion.statistics.asked)
  // Served to the end.
  control[42 + Int(me)] = 1
  while control[42 + Int(1 - me)] == 0 {
    CoherentRegion.settle()
    Slices.yield()
  }
  return isRight ? 0 : 2
}

func coherent() throws(ExocallError) {
  var frames: [Capability] = []
  let quota = EnvironmentQuota(frames: 256, capabilities: 256, bindings: 64)
  var children: [Child] = []
  for me: UInt64 in 0..<2 { children.append(try Child.make(quota, argument: me) { takePart($0) }) }
  for page: UInt64 in 0..<3 {
    let frame = try Exocall.frameAllocate(count: 1).owner
    frames.append(frame)
    for child in children {
      try child.environment.map(frame, at: CoherentRegion.control + page << 12, pages: 1, [.read, .write])
    }
  }
  try frames[0].map(at: CoherentRegion.control, pages: 1, [.read, .write])
  for me in 0..<2 {
    _ = try children[1 - me].environment.capability.grant(to: children[me].environment, [.deliver])
  }
  for child in children { try child.start() }
  let control = SharedWords(address: CoherentRegion.control)
  let ends = (try children[0].wait(), try children[1].wait())
  Promises.check(
    ends.0 == .exited(status: 0) && ends.1 == .exited(status: 0),
    "two environments see one region by \(control[48] + control[49]) faults: they \(ends.0) and \(ends.1)")
  try Exocall.unmap(CoherentRegion.control, pages: 1)
  for frame in frames { try frame.drop() }
}
