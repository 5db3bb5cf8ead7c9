import ExosMemory
import ExosThreads
import GuestRuntime
import LibOS

/// What Appel and Li's primitives are for, each with a check of its result.
func applications() {
  Promises.part("barrier", barrier)
  Promises.part("checkpoint", checkpoint)
  Promises.part("coherent", coherent)
  Promises.part("colours", colours)
  Promises.part("inverted", inverted)
  Promises.finish()
}

private func barrier() throws(ExocallError) {
  let memory = try begunMemory()
  let (traps, bits, none) = try inVirtualMemory { () throws(VirtualMemoryError) in
    (
      try CollectorCheck(memory, .traps), try CollectorCheck(memory, .dirtyBits),
      try CollectorCheck(memory, .none)
    )
  }
  Promises.check(
    traps.wrong == 0 && traps.pagesScanned > 0,
    "a generational collector with a write barrier of traps: \(traps.collections) collections, \(traps.pagesScanned) old pages looked at"
  )
  Promises.check(
    bits.wrong == 0 && bits.pagesScanned > 0,
    "the same with dirty bits and no trap: \(bits.collections) collections, \(bits.pagesScanned) old pages looked at"
  )
  Promises.check(none.wrong > 0, "without a barrier it loses cells: \(none.wrong) lists are wrong")
}

/// A heap is written out as it was at one moment while a thread goes on changing it.
private func checkpoint() throws(ExocallError) {
  let memory = try begunMemory()
  let pages = 64
  let heap = try inVirtualMemory { () throws(VirtualMemoryError) in try memory.makeRegion(pages: pages) }
  let words = Words(heap)
  for page in 0..<pages { words[page] = UInt64(page) }
  try Threads.begin(quantum: 300_000)
  let stop = Counter()
  var (right, changed, copied) = (0, 0, 0)
  _ = inThreads { () throws(ThreadError) in
    // The mutator keeps one invariant: the words of a round differ by the page's number.
    let mutator = try Threads.spawn {
      var round: UInt64 = 1
      while stop.value == 0 {
        for page in 0..<pages { words[page] = round &* 1000 &+ UInt64(page) }
        round += 1
      }
    }
    for _ in 0..<5 {
      Threads.yield()
      let copiesBefore = memory.statistics.copied
      let taken: (snapshot: VirtualRegion, moment: [UInt64])? = Threads.exclusively {
        guard let snapshot = try? memory.copy(heap) else { return nil }
        // Read within the same critical section: what the heap was at that moment.
        return (snapshot, (0..<pages).map { words[$0] })
      }
      guard let taken else { break }
      let store = CompressedStore(pages: pages)
      for page in 0..<pages {
        if let contents = UnsafeRawPointer(bitPattern: UInt(taken.snapshot.address(of: page))) {
          try? store.save(page, from: contents)
        }
        if page % 8 == 0 { Threads.yield() }
      }
      copied += memory.statistics.copied - copiesBefore
      let page = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 8)
      for index in 0..<pages {
        guard (try? store.load(index, into: page)) != nil else { continue }
        if page.load(as: UInt64.self) == taken.moment[index] { right += 1 }
        if words[index] != taken.moment[index] { changed += 1 }
      }
      page.deallocate()
      Threads.exclusively { try? memory.remove(taken.snapshot) }
    }
    stop.add(1)
    try Threads.join(mutator)
  }
  try Events.unbind()
  Promises.check(right == 5 * pages, "5 checkpoints hold \(right) pages as they were at one moment each")
  Promises.check(
    changed > 0 && copied > 0,
    "while they were written \(copied) pages were copied for the thread that went on")
}

/// Frames chosen by their names so that pages side by side fall into the cache side by side.
private func colours() throws(ExocallError) {
  var memory = MachinePages()
  let colours: UInt32 = 16
  var colouring = FrameColouring(colours: colours)
  var wrong = 0
  for page in 0..<48 {
    guard let frame = colouring.takeFrame(for: page, from: &memory) else {
      wrong += 1
      continue
    }
    try memory.map(frame, at: SharedPage.first + UInt64(page) << 12, [.read, .write])
    let number = PageTables.frame(of: SharedPage.first + UInt64(page) << 12)
    if number.map({ $0 % colours }) != UInt32(page) % colours { wrong += 1 }
  }
  Promises.check(wrong == 0, "48 pages of a region lie in frames of the 16 colours in turn")
  try memory.unmap(SharedPage.first, pages: 48)
}

/// An application that keeps its own page table, inverted.
private func inverted() throws(ExocallError) {
  var machine = MachinePages()
  var table = InvertedPageTable(frames: 64)
  let base: UInt64 = 0x6300_0000_0000
  for page: UInt64 in 0..<40 {
    guard let frame = machine.takeFrame() else { return Promises.check(false, "40 frames") }
    // Addresses far apart: a tree would want a table for each.
    let address = base + page << 30
    try machine.map(frame, at: address, [.read, .write])
    table.insert(frame: frame.slot, page: address >> 12, [.read, .write])
  }
  let right = (0..<40).allSatisfy { (page: UInt64) in
    guard let slot = table.find(page: (base + page << 30) >> 12) else { return false }
    return PageTables.frame(of: base + page << 30) == machine.number(of: PageFrame(slot: slot))
  }
  Promises.check(right, "40 pages a gigabyte apart are found in an inverted page table of 64 entries")
  for page: UInt64 in 0..<20 { table.remove(page: (base + page << 30) >> 12) }
  Promises.check(
    (0..<40).allSatisfy { (page: UInt64) in
      (table.find(page: (base + page << 30) >> 12) != nil) == (page >= 20)
    },
    "half of them taken out, the others are still found")
  for page: UInt64 in 0..<40 { try machine.unmap(base + page << 30, pages: 1) }
}
