import ExosMemory
import LibOS

/// A generational copying collector of cells: new cells in a nursery, those that survive in the old generation. A collection
/// of the nursery needs to know which old cells have been made to refer to new ones; three ways of finding out:
enum WriteBarrier {
  /// Old pages are protected, and the first write to each traps (Appel, Ellis and Li 1988).
  case traps
  /// No traps: the dirty bits of the page table, which the hardware keeps anyway.
  case dirtyBits
  /// Not at all, which is wrong: the check must see it.
  case none
}

struct Collector {
  /// Words of a cell: its tag, two references and a value. A cell never lies across two pages.
  static let cellBytes: UInt64 = 32
  private static let forwarded: UInt64 = 1 << 63

  let memory: VirtualMemory<MachinePages>
  let barrier: WriteBarrier
  let old: VirtualRegion
  let nursery: VirtualRegion
  private var oldNext: UInt64
  private var nurseryNext: UInt64
  /// Cells the program holds. References to cells change at every collection.
  var roots: [UInt64]
  private(set) var collections = 0
  private(set) var pagesScanned = 0
  /// Pages written since the last collection, as the traps found them.
  private final class Remembered {
    var pages: [Bool]
    init(_ count: Int) { pages = Array(repeating: false, count: count) }
  }
  private let remembered: Remembered

  init(
    _ memory: VirtualMemory<MachinePages>, _ barrier: WriteBarrier, oldPages: Int, nurseryPages: Int,
    roots: Int
  ) throws(VirtualMemoryError) {
    self.memory = memory
    self.barrier = barrier
    old = try memory.makeRegion(pages: oldPages)
    nursery = try memory.makeRegion(pages: nurseryPages)
    oldNext = old.start
    nurseryNext = nursery.start
    self.roots = Array(repeating: 0, count: roots)
    let remembered = Remembered(oldPages)
    self.remembered = remembered
    let (start, region) = (old.start, old)
    old.onTrap = { address, _ in
      let page = Int((address - start) >> 12)
      remembered.pages[page] = true
      return (try? memory.protect(region, page..<page + 1, [.read, .write])) != nil
    }
  }

  func release() throws(VirtualMemoryError) {
    try memory.remove(old)
    try memory.remove(nursery)
  }

  func word(_ cell: UInt64, _ index: Int) -> UInt64 { SharedWords(address: cell)[index] }
  func set(_ cell: UInt64, _ index: Int, _ value: UInt64) { SharedWords(address: cell)[index] = value }

  /// A new cell; collects first if there is no room. The references must be in `roots` to survive that: they are named by
  /// their places there.
  mutating func allocate(value: UInt64, left: Int? = nil) throws(VirtualMemoryError) -> UInt64 {
    if nurseryNext + Self.cellBytes > nursery.start + UInt64(nursery.count) << 12 { try collect() }
    let cell = nurseryNext
    nurseryNext += Self.cellBytes
    set(cell, 0, 0)
    set(cell, 1, left.map { roots[$0] } ?? 0)
    set(cell, 2, 0)
    set(cell, 3, value)
    return cell
  }

  /// Moves what is reachable out of the nursery.
  mutating func collect() throws(VirtualMemoryError) {
    collections += 1
    var scan = oldNext
    for index in roots.indices { roots[index] = move(roots[index]) }
    let used = Int((oldNext - old.start + 4095) >> 12)
    let written: [Bool] = (0..<used).map { page in
      switch barrier {
      case .traps: remembered.pages[page]
      case .dirtyBits: memory.isDirty(old, page)
      case .none: false
      }
    }
    for page in 0..<used where written[page] {
      pagesScanned += 1
      let end = min(old.address(of: page) + 4096, scan)
      for cell in stride(from: old.address(of: page), to: end, by: Int(Self.cellBytes)) { fix(cell) }
    }
    while scan < oldNext {
      fix(scan)
      scan += Self.cellBytes
    }
    nurseryNext = nursery.start
    let pages = Int((oldNext - old.start + 4095) >> 12)
    switch barrier {
    case .traps:
      for page in remembered.pages.indices { remembered.pages[page] = false }
      try memory.protect(old, 0..<pages, .read)
    case .dirtyBits: try memory.forgetDirty(old)
    case .none: break
    }
  }

  private mutating func fix(_ cell: UInt64) {
    for index in 1...2 {
      let before = word(cell, index)
      let after = move(before)
      if after != before { set(cell, index, after) }
    }
  }

  private mutating func move(_ cell: UInt64) -> UInt64 {
    guard cell >= nursery.start, cell < nursery.start + UInt64(nursery.count) << 12 else { return cell }
    let tag = word(cell, 0)
    if tag & Self.forwarded != 0 { return tag & ~Self.forwarded }
    let new = oldNext
    oldNext += Self.cellBytes
    for index in 0..<4 { set(new, index, word(cell, index)) }
    set(cell, 0, new | Self.forwarded)
    return new
  }
}

/// Lists that grow at the end, where each new cell hangs on an old one: what a collector without a barrier loses.
struct CollectorCheck {
  var wrong = 0
  var collections = 0
  var pagesScanned = 0
  var faults = 0

  init(_ memory: VirtualMemory<MachinePages>, _ barrier: WriteBarrier) throws(VirtualMemoryError) {
    let lists = 40
    let rounds = 8000
    let faultsBefore = memory.statistics.faults
    // Roots: the first and the last cell of each list.
    var heap = try Collector(memory, barrier, oldPages: 128, nurseryPages: 4, roots: 2 * lists)
    var lengths = Array(repeating: 0, count: lists)
    var state: UInt64 = 12345
    for round in 0..<rounds {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let list = Int(state >> 33) % lists
      let cell = try heap.allocate(value: UInt64(list) << 32 | UInt64(lengths[list]))
      if lengths[list] == 0 {
        heap.roots[2 * list] = cell
      } else {
        heap.set(heap.roots[2 * list + 1], 2, cell)
      }
      // The last one is found by walking from the first now and then, so that only the list holds it.
      heap.roots[2 * list + 1] = cell
      lengths[list] += 1
      if round % 97 == 0 { for index in 0..<lists { heap.roots[2 * index + 1] = Self.last(heap, index) } }
    }
    try heap.collect()
    for list in 0..<lists {
      var cell = heap.roots[2 * list]
      var length = 0
      while cell != 0, length <= lengths[list] {
        if heap.word(cell, 3) != UInt64(list) << 32 | UInt64(length) { break }
        length += 1
        cell = heap.word(cell, 2)
      }
      if length != lengths[list] || cell != 0 { wrong += 1 }
    }
    collections = heap.collections
    pagesScanned = heap.pagesScanned
    faults = memory.statistics.faults - faultsBefore
    try heap.release()
  }

  private static func last(_ heap: Collector, _ list: Int) -> UInt64 {
    var cell = heap.roots[2 * list]
    var steps = 0
    while cell != 0, heap.word(cell, 2) != 0, steps < 10_000 {
      cell = heap.word(cell, 2)
      steps += 1
    }
    return cell
  }
}
