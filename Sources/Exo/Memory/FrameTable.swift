/// Who owns each frame of the machine and where it is mapped.
///
/// The inverted page map: for every frame, each (environment, address) that maps it, so that the exokernel can
/// take the frame back from all of them.
struct FrameTable {
  /// What a frame is now. A change of type goes through `free`.
  enum Kind: UInt8, Sendable { case free, data, pageTable, nucleus, kit, retiring }

  struct Mapping: Hashable, Sendable {
    var environment: EnvironmentID
    var address: GuestAddress
  }

  private struct Entry {
    var kind = Kind.free
    var owner = EnvironmentID(0)
    /// How many bindings need the frame to stay where it is (exception stacks, rings).
    var pins: UInt32 = 0
    /// Head of the list of mappings in `nodes`, -1 for none.
    var firstMapping: Int32 = -1
    var mappings: UInt32 = 0
    /// How often it is remembered as unbound and perhaps seen all the same (`Kernel+Lingering`).
    var lingering: UInt32 = 0
    /// Whether its mappings are in `indexed`.
    var isIndexed = false
  }
  private struct Node {
    var mapping: Mapping
    var next: Int32
    var previous: Int32 = -1
  }

  let count: Int
  private(set) var freeCount: Int
  // Entries exist up to the highest frame ever used, so that a large machine costs nothing to start.
  private var entries: [Entry] = []
  private var nodes: [Node] = []
  private var freeNode: Int32 = -1
  /// The nodes of frames with many mappings, so that taking one away does not take a walk past all others.
  private var indexed: [Mapping: Int32] = [:]
  private static let walkLimit: UInt32 = 32
  // One bit a frame, set while free.
  private var freeBits: [UInt64]
  /// No frame below it is free.
  private var lowestFree = 0

  init(count: Int) {
    self.count = count
    freeCount = count
    freeBits = [UInt64](repeating: .max, count: (count + 63) / 64)
    if count % 64 != 0 { freeBits[freeBits.count - 1] = (1 << UInt64(count % 64)) - 1 }
  }

  func isFree(_ frame: Frame) -> Bool {
    let n = Int(frame.number)
    return n < count && freeBits[n >> 6] >> UInt64(n & 63) & 1 == 1
  }

  private mutating func entry(_ frame: Frame) -> Int {
    let n = Int(frame.number)
    precondition(n < count, "frame out of range")
    while entries.count <= n { entries.append(Entry()) }
    return n
  }

  // --- allocation

  /// Takes up to `wanted` frames that lie side by side: the lowest free run that is long enough, else the longest. Nil when
  /// nothing is free. The lowest, because frames that were used before have memory of the host behind them, and are mapped.
  mutating func allocate(
    upTo wanted: Int, kind: Kind, owner: EnvironmentID
  ) -> (first: Frame, count: Int)? {
    guard freeCount > 0, wanted > 0 else { return nil }
    guard let run = findRun(wanted) else { return nil }
    for n in run { take(Frame(UInt32(n)), kind: kind, owner: owner) }
    if run.lowerBound == lowestFree { lowestFree = run.upperBound }
    return (Frame(UInt32(run.lowerBound)), run.count)
  }

  /// Takes one particular frame and its successors; false, and nothing taken, unless all are free.
  mutating func allocate(at first: Frame, count wanted: Int, kind: Kind, owner: EnvironmentID) -> Bool {
    guard wanted > 0, Int(first.number) + wanted <= count else { return false }
    for i in 0..<wanted where !isFree(first.advanced(by: i)) { return false }
    for i in 0..<wanted { take(first.advanced(by: i), kind: kind, owner: owner) }
    return true
  }

  /// Takes frames side by side that begin at a multiple of `alignment`: the first such run.
  mutating func allocate(_ wanted: Int, alignment: Int, kind: Kind, owner: EnvironmentID) -> Frame? {
    guard let first = findRun(wanted, alignment: alignment),
      allocate(at: first, count: wanted, kind: kind, owner: owner)
    else { return nil }
    return first
  }

  /// Whether such a run is free.
  func hasRun(_ wanted: Int, alignment: Int) -> Bool { findRun(wanted, alignment: alignment) != nil }

  private func findRun(_ wanted: Int, alignment: Int) -> Frame? {
    guard wanted > 0, wanted <= freeCount else { return nil }
    var start = 0
    while start + wanted <= count {
      // From the end, so that no frame is looked at more than twice.
      guard let busy = (start..<start + wanted).last(where: { !isFree(Frame(UInt32($0))) }) else {
        return Frame(UInt32(start))
      }
      start = (busy / alignment + 1) * alignment
    }
    return nil
  }

  private mutating func take(_ frame: Frame, kind: Kind, owner: EnvironmentID) {
    let n = entry(frame)
    freeBits[n >> 6] &= ~(1 << UInt64(n & 63))
    freeCount -= 1
    entries[n] = Entry(kind: kind, owner: owner)
  }

  private mutating func findRun(_ wanted: Int) -> Range<Int>? {
    var best: Range<Int>?
    var n = lowestFree
    while n < count {
      let word = freeBits[n >> 6] >> UInt64(n & 63)
      if word == 0 {
        n = (n | 63) + 1
        continue
      }
      n += word.trailingZeroBitCount
      let start = n
      if best == nil { lowestFree = start }
      while n < count, n - start < wanted {
        let ones = (~(freeBits[n >> 6] >> UInt64(n & 63))).trailingZeroBitCount
        let step = min(ones, 64 - n & 63)
        if step == 0 { break }
        n += step
        if n & 63 != 0 { break }
      }
      let run = start..<min(n, min(start + wanted, count))
      if run.count == wanted { return run }
      if run.count > best?.count ?? 0 { best = run }
      n = max(n, run.upperBound)
    }
    return best
  }

  /// The frame may still be visible to a vCPU that has not left guest mode: it belongs to nobody until `release`.
  mutating func retire(_ frame: Frame) {
    let n = entry(frame)
    precondition(entries[n].firstMapping < 0, "a mapped frame cannot be retired")
    entries[n] = Entry(kind: .retiring, lingering: entries[n].lingering)
  }

  /// The frame is clean and unseen: it may have its next owner.
  mutating func release(_ frame: Frame) {
    let n = entry(frame)
    precondition(
      entries[n].kind != .free && entries[n].firstMapping < 0 && entries[n].lingering == 0,
      "released while in use")
    entries[n] = Entry()
    freeBits[n >> 6] |= 1 << UInt64(n & 63)
    freeCount += 1
    lowestFree = min(lowestFree, n)
  }

  // --- what a frame is

  func kind(of frame: Frame) -> Kind {
    let n = Int(frame.number)
    return n < entries.count ? entries[n].kind : .free
  }
  func owner(of frame: Frame) -> EnvironmentID? {
    let n = Int(frame.number)
    return n < entries.count && entries[n].kind != .free ? entries[n].owner : nil
  }
  func pins(of frame: Frame) -> Int {
    let n = Int(frame.number)
    return n < entries.count ? Int(entries[n].pins) : 0
  }
  /// Everything about a frame but where it is mapped.
  struct Record {
    var kind = Kind.free
    var owner = EnvironmentID(0)
    var pins = 0
    var isMapped = false
    var lingering = 0
    var isMarkedFree = false
  }
  /// One for each frame, for those who look at all of them.
  var records: [Record] {
    var records = [Record](repeating: Record(), count: count)
    for (n, entry) in entries.enumerated() {
      records[n] = Record(
        kind: entry.kind, owner: entry.owner, pins: Int(entry.pins), isMapped: entry.firstMapping >= 0,
        lingering: Int(entry.lingering))
    }
    for n in 0..<count { records[n].isMarkedFree = freeBits[n >> 6] >> UInt64(n & 63) & 1 == 1 }
    return records
  }

  mutating func pin(_ frame: Frame) { entries[entry(frame)].pins += 1 }
  mutating func unpin(_ frame: Frame) {
    let n = entry(frame)
    precondition(entries[n].pins > 0, "unpinned more often than pinned")
    entries[n].pins -= 1
  }

  // --- frames that may be seen where they are bound no more

  mutating func addLingering(_ frame: Frame) { entries[entry(frame)].lingering += 1 }
  mutating func removeLingering(_ frame: Frame) {
    let n = entry(frame)
    precondition(entries[n].lingering > 0, "forgotten more often than remembered")
    entries[n].lingering -= 1
  }
  func isLingering(_ frame: Frame) -> Bool { lingering(frame) > 0 }
  func lingering(_ frame: Frame) -> Int {
    let n = Int(frame.number)
    return n < entries.count ? Int(entries[n].lingering) : 0
  }

  // --- the inverted page map

  mutating func addMapping(_ mapping: Mapping, to frame: Frame) {
    let n = entry(frame)
    let head = entries[n].firstMapping
    let node = Node(mapping: mapping, next: head)
    let index: Int32
    if freeNode >= 0 {
      index = freeNode
      freeNode = nodes[Int(index)].next
      nodes[Int(index)] = node
    } else {
      index = Int32(nodes.count)
      nodes.append(node)
    }
    if head >= 0 { nodes[Int(head)].previous = index }
    entries[n].firstMapping = index
    entries[n].mappings += 1
    if entries[n].isIndexed {
      indexed[mapping] = index
    } else if entries[n].mappings > Self.walkLimit {
      entries[n].isIndexed = true
      var next = entries[n].firstMapping
      while next >= 0 {
        indexed[nodes[Int(next)].mapping] = next
        next = nodes[Int(next)].next
      }
    }
  }

  /// The same for frames side by side at consecutive pages.
  mutating func addMappings(of first: Frame, count: Int, at address: GuestAddress, in id: EnvironmentID) {
    for page in 0..<count {
      addMapping(
        .init(environment: id, address: address.advanced(byPages: page)), to: first.advanced(by: page))
    }
  }

  /// False if the frame had no such mapping.
  @discardableResult
  mutating func removeMapping(_ mapping: Mapping, from frame: Frame) -> Bool {
    let n = entry(frame)
    guard let index = find(mapping, of: n) else { return false }
    let node = nodes[Int(index)]
    if node.previous >= 0 {
      nodes[Int(node.previous)].next = node.next
    } else {
      entries[n].firstMapping = node.next
    }
    if node.next >= 0 { nodes[Int(node.next)].previous = node.previous }
    nodes[Int(index)].next = freeNode
    freeNode = index
    entries[n].mappings -= 1
    if entries[n].isIndexed {
      indexed[mapping] = nil
      if entries[n].mappings == 0 { entries[n].isIndexed = false }
    }
    return true
  }

  private func find(_ mapping: Mapping, of n: Int) -> Int32? {
    if entries[n].isIndexed { return indexed[mapping] }
    var index = entries[n].firstMapping
    while index >= 0, nodes[Int(index)].mapping != mapping { index = nodes[Int(index)].next }
    return index >= 0 ? index : nil
  }

  func mappingCount(of frame: Frame) -> Int {
    let n = Int(frame.number)
    return n < entries.count ? Int(entries[n].mappings) : 0
  }
  func mappings(of frame: Frame) -> [Mapping] {
    let n = Int(frame.number)
    guard n < entries.count else { return [] }
    var found: [Mapping] = []
    var index = entries[n].firstMapping
    while index >= 0 {
      found.append(nodes[Int(index)].mapping)
      index = nodes[Int(index)].next
    }
    return found
  }
}
