import ExoABI

@testable import ExosMemoryHost
@testable import LibOSHost

/// A machine of frames and page-table entries, for virtual memory's logic to run on. It does what the exokernel and the
/// processor promise, and refuses now and then.
struct SimulatedPages: PageMachine {
  struct Mapping {
    var frame: PageFrame
    var granted: Rights
    var rights: Rights
    var isAccessed = false
    var isDirty = false
  }
  private(set) var frames: [UnsafeMutableRawPointer]
  private(set) var free: [Int]
  private(set) var table: [UInt64: Mapping] = [:]
  var random = Randomness(state: 3)
  /// One call in so many is refused; none if 0.
  var refusal: UInt64 = 0

  init(frames count: Int) {
    frames = (0..<count).map { _ in .allocate(byteCount: 4096, alignment: 4096) }
    free = Array(0..<count)
  }
  func deallocate() {
    for frame in frames { frame.deallocate() }
  }

  var used: Int { frames.count - free.count }

  mutating func takeFrame() -> PageFrame? {
    guard let slot = free.popLast() else { return nil }
    frames[slot].initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
    return PageFrame(slot: slot)
  }
  mutating func giveFrame(_ frame: PageFrame) {
    precondition(
      !free.contains(frame.slot) && !table.values.contains { $0.frame == frame }, "given back in use")
    // What was there must not be seen again.
    frames[frame.slot].initializeMemory(as: UInt8.self, repeating: 0xdd, count: 4096)
    free.append(frame.slot)
  }
  func contents(of frame: PageFrame) -> UnsafeMutableRawPointer { frames[frame.slot] }

  private mutating func mayRefuse() throws(ExocallError) {
    if refusal > 0, random.next() % refusal == 0 { throw .outOfMemory }
  }
  mutating func map(_ frame: PageFrame, at address: UInt64, _ rights: Rights) throws(ExocallError) {
    try mayRefuse()
    if table[address] != nil { throw .exists }
    table[address] = Mapping(frame: frame, granted: rights, rights: rights)
  }
  mutating func unmap(_ address: UInt64, pages: UInt64) throws(ExocallError) {
    for page in 0..<pages { table[address + page << 12] = nil }
  }
  mutating func protect(_ address: UInt64, pages: UInt64, _ rights: Rights) throws(ExocallError) {
    try mayRefuse()
    for page in 0..<pages {
      guard let mapping = table[address + page << 12] else { throw .noEntry }
      guard rights.isSubset(of: mapping.granted) else { throw .notPermitted }
    }
    for page in 0..<pages { table[address + page << 12]?.rights = rights }
  }
  func entry(of address: UInt64) -> PageTableEntry? {
    table[address & ~4095].map { mapping in
      var bits = mapping.granted.rawValue << 9
      if !mapping.rights.isEmpty { bits |= 1 }
      if mapping.rights.contains(.write) { bits |= 2 }
      if mapping.isAccessed { bits |= 1 << 5 }
      if mapping.isDirty { bits |= 1 << 6 }
      return PageTableEntry(bits: bits)
    }
  }

  /// What the processor does at an access: the word's place, or nil for a page fault.
  mutating func access(_ address: UInt64, isWrite: Bool) -> UnsafeMutablePointer<UInt64>? {
    let page = address & ~4095
    guard let mapping = table[page], mapping.rights.contains(isWrite ? .write : .read) else { return nil }
    table[page]?.isAccessed = true
    if isWrite { table[page]?.isDirty = true }
    return (frames[mapping.frame.slot] + Int(address & 4095)).assumingMemoryBound(to: UInt64.self)
  }
}
