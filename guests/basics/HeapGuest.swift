import LibOS

/// Fills the heap until it is refused more, checks that every block still holds what was written, frees all, and
/// once more, since what was given back must be there again.
func heap() {
  var counts = (0, 0)
  counts.0 = fillAndEmpty()
  counts.1 = fillAndEmpty()
  Heap.trim()
  let left = Heap.statistics
  print("heap: peak \(left.peakPages) pages, \(counts.0) blocks, refused and went on")
  // The second time the same fits, but for a page table more or less.
  guard counts.1 * 10 >= counts.0 * 9 else {
    print("heap: only \(counts.1) blocks the second time")
    exit(1)
  }
  guard left.pages == 0, left.allocations == 0 else {
    print("heap: \(left.pages) pages and \(left.allocations) allocations not given back")
    exit(1)
  }
  print("heap: everything was given back")
}

/// Starts a block, all in the block itself: at the limit there is nowhere else to keep a list.
private struct Block {
  var next: UnsafeMutablePointer<Block>?
  var words: Int
}

private func fillAndEmpty() -> Int {
  let sizes = [24, 48, 200, 1000, 4096, 5000, 20000, 100_000, 1_000_000]
  var first: UnsafeMutablePointer<Block>?
  var count = 0
  // The large sizes are refused first; the small ones fill what is left.
  var refused = 0
  var turn = 0
  while refused < sizes.count {
    let size = sizes[turn % (sizes.count - refused)]
    turn += 1
    guard let memory = Heap.allocate(bytes: size) else {
      refused += 1
      continue
    }
    let block = memory.bindMemory(to: Block.self, capacity: 1)
    block.initialize(to: Block(next: first, words: (size - MemoryLayout<Block>.size) / 8))
    forEachWord(block) { $0.initialize(to: UInt(bitPattern: $0) ^ 0x5a5a) }
    first = block
    count += 1
  }
  var damaged = 0
  while let block = first {
    forEachWord(block) { if $0.pointee != UInt(bitPattern: $0) ^ 0x5a5a { damaged += 1 } }
    first = block.pointee.next
    Heap.free(UnsafeMutableRawPointer(block))
  }
  if damaged > 0 {
    print("heap: \(damaged) words damaged")
    exit(1)
  }
  return count
}

private func forEachWord(
  _ block: UnsafeMutablePointer<Block>, _ body: (UnsafeMutablePointer<UInt>) -> Void
) {
  let words = UnsafeMutableRawPointer(block + 1).bindMemory(to: UInt.self, capacity: block.pointee.words)
  for index in 0..<block.pointee.words { body(words + index) }
}
