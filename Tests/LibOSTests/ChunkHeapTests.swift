import Glibc
import Testing

@testable import LibOSHost

/// Memory of the host in place of frames: so many pages, granted in pieces as short as asked for.
final class Frames {
  var left: Int
  var longestGrant: Int
  var random: Randomness
  var held: [UInt: HeapExtent] = [:]
  var next: UInt64 = 0

  init(pages: Int, longestGrant: Int, seed: UInt64) {
    left = pages
    self.longestGrant = longestGrant
    random = Randomness(state: seed)
  }
}

struct HostSource: HeapSource {
  let frames: Frames

  mutating func map(_ address: UInt, pages: Int) -> HeapExtent? {
    let fixedNoReplace: Int32 = 0x100000
    let count = min(pages, frames.left, Int.random(in: 1...frames.longestGrant, using: &frames.random))
    guard count > 0 else { return nil }
    let at = mmap(
      UnsafeMutableRawPointer(bitPattern: address), count * 4096, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | fixedNoReplace, -1, 0)
    guard UInt(bitPattern: at) == address else {
      Issue.record("\(count) pages at \(address) are mapped already")
      return nil
    }
    frames.left -= count
    frames.next += 1
    let extent = HeapExtent(capability: frames.next, pages: UInt64(count))
    frames.held[address] = extent
    return extent
  }

  mutating func unmap(_ address: UInt, _ extent: HeapExtent) {
    #expect(frames.held.removeValue(forKey: address) == extent)
    munmap(UnsafeMutableRawPointer(bitPattern: address), Int(extent.pages) * 4096)
    frames.left += Int(extent.pages)
  }
}

/// One at a time: each heap of a test maps memory at fixed addresses.
@Suite(.serialized) struct ChunkHeapTests {
  static let region: Range<UInt> = 0x2100_0000_0000..<0x2200_0000_0000

  struct Block {
    var address: UInt
    var size: Int
    var mark: UInt8
  }

  func withHeap(_ frames: Frames, _ body: (inout ChunkHeap<HostSource>) -> Void) {
    let size = ChunkHeap<HostSource>.bookSize
    let book = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
    book.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    defer { book.deallocate() }
    var heap = ChunkHeap(source: HostSource(frames: frames))
    heap.attach(region: Self.region, book: book)
    body(&heap)
    heap.trim()
    #expect(heap.statistics.allocations == 0 && heap.statistics.bytes == 0)
    #expect(heap.statistics.pages == 0 && frames.held.isEmpty)
  }

  func bytes(_ block: Block) -> UnsafeMutableBufferPointer<UInt8> {
    UnsafeMutableBufferPointer(start: UnsafeMutablePointer(bitPattern: block.address), count: block.size)
  }

  /// A random walk of allocations, each filled with a mark that must still be there when it is freed.
  @Test(arguments: [(1, 1), (2, 3), (3, 16), (4, 4096)] as [(UInt64, Int)]) func marksSurvive(
    seed: UInt64, longestGrant: Int
  ) {
    let frames = Frames(pages: 400, longestGrant: longestGrant, seed: seed)
    var random = Randomness(state: seed &* 77)
    withHeap(frames) { heap in
      var blocks: [Block] = []
      var refused = 0
      for step in 0..<6000 {
        if Int.random(in: 0..<100, using: &random) < (step / 1000 % 2 == 0 ? 60 : 40) || blocks.isEmpty {
          let magnitude = Int.random(in: 0...17, using: &random)
          let size = Int.random(in: 0...(1 << magnitude), using: &random)
          let alignment = 1 << (Int.random(in: 0..<8, using: &random) + (step % 50 == 0 ? 10 : 0))
          guard let address = heap.allocate(size: size, alignment: alignment) else {
            refused += 1
            continue
          }
          #expect(address % UInt(alignment) == 0)
          blocks.append(Block(address: address, size: size, mark: UInt8(truncatingIfNeeded: step)))
          bytes(blocks[blocks.count - 1]).update(repeating: UInt8(truncatingIfNeeded: step))
        } else {
          let block = blocks.remove(at: Int.random(in: 0..<blocks.count, using: &random))
          #expect(bytes(block).allSatisfy { $0 == block.mark })
          heap.free(block.address)
        }
        #expect(heap.statistics.allocations == blocks.count)
        #expect(heap.statistics.pages + frames.left == 400)
      }
      #expect(refused > 0)
      for block in blocks {
        #expect(bytes(block).allSatisfy { $0 == block.mark })
        heap.free(block.address)
      }
    }
  }

  /// Up to the last page, refused, and all of it to be had again.
  @Test(arguments: [24, 4000, 16384, 30000]) func theLimitIsReachedAndSurvived(size: Int) {
    let frames = Frames(pages: 300, longestGrant: 64, seed: 5)
    withHeap(frames) { heap in
      var counts: [Int] = []
      for _ in 0..<3 {
        var all: [UInt] = []
        while let address = heap.allocate(size: size, alignment: 16) { all.append(address) }
        #expect(frames.left * 4096 < size + 4096)
        counts.append(all.count)
        for address in all { heap.free(address) }
      }
      #expect(counts[0] > 0 && counts.allSatisfy { $0 == counts[0] })
    }
  }

  /// A program at a chunk's edge asks for no memory, and one chunk of its class is all that is kept.
  @Test func oneEmptyChunkIsKept() {
    let frames = Frames(pages: 1000, longestGrant: 1000, seed: 6)
    withHeap(frames) { heap in
      heap.free(heap.allocate(size: 100, alignment: 16)!)
      let grants = frames.next
      for _ in 0..<100 { heap.free(heap.allocate(size: 100, alignment: 16)!) }
      #expect(frames.next == grants)
      let many = (0..<10000).map { _ in heap.allocate(size: 100, alignment: 16)! }
      for address in many { heap.free(address) }
      #expect(heap.statistics.pages <= 16)
    }
  }

  /// Objects of several classes that come and go together, as with each packet, ask for no memory once they have been there; and
  /// what is kept for them is bounded.
  @Test func oneEmptyChunkOfEachClassIsKept() {
    let frames = Frames(pages: 4000, longestGrant: 1000, seed: 6)
    withHeap(frames) { heap in
      let sizes = [24, 100, 700, 48, 1500, 4096]
      func round() {
        let all = sizes.map { heap.allocate(size: $0, alignment: 16)! }
        for address in all { heap.free(address) }
      }
      round()
      let grants = frames.next
      for _ in 0..<100 { round() }
      #expect(frames.next == grants)
      let many = (0..<1000).map { heap.allocate(size: 16 + $0 * 15, alignment: 16)! }
      for address in many { heap.free(address) }
      #expect(heap.statistics.pages <= ChunkHeader.keptPages)
    }
  }

  /// The same for large allocations, up to a size; what is kept serves what is not much smaller.
  @Test func oneLargeChunkIsKept() {
    let frames = Frames(pages: 2000, longestGrant: 2000, seed: 6)
    withHeap(frames) { heap in
      heap.free(heap.allocate(size: 100_000, alignment: 16)!)
      let grants = frames.next
      for size in [100_000, 60_000, 90_000] { heap.free(heap.allocate(size: size, alignment: 16)!) }
      #expect(frames.next == grants)
      let small = heap.allocate(size: 20_000, alignment: 16)!
      #expect(frames.next == grants + 1)
      let kept = heap.allocate(size: 90_000, alignment: 4096)!
      #expect(frames.next == grants + 1 && kept % 4096 == 0)
      heap.free(kept)
      heap.free(small)
      #expect(heap.statistics.pages < 10)
      heap.free(heap.allocate(size: 257 * 4096, alignment: 16)!)
      #expect(heap.statistics.pages < 10)
    }
  }

  /// One class's spare chunk does not stand in the way of another's last object.
  @Test func theSpareChunkGoesWhenMemoryIsShort() {
    let frames = Frames(pages: 4, longestGrant: 4, seed: 7)
    withHeap(frames) { heap in
      heap.free(heap.allocate(size: 16, alignment: 16)!)
      #expect(frames.left == 3)
      let address = heap.allocate(size: 3 * 4096, alignment: 16)
      #expect(address != nil)
      if let address { heap.free(address) }
    }
  }

  @Test func absurdSizesAreRefused() {
    withHeap(Frames(pages: 10, longestGrant: 10, seed: 8)) { heap in
      for size in [Int.max, Int.max - 70000, 1 << 62, 1 << 46, 1 << 45] {
        #expect(heap.allocate(size: size, alignment: 16) == nil)
      }
      #expect(heap.allocate(size: 16, alignment: 1 << 50) == nil)
    }
  }

  @Test(arguments: [16384, 65536, 131072, 1 << 21]) func largeAlignments(alignment: Int) {
    withHeap(Frames(pages: 200, longestGrant: 3, seed: 9)) { heap in
      let all = (0..<3).map { heap.allocate(size: 100 << ($0 * 6), alignment: alignment) }
      #expect(all.contains { $0 != nil })
      for address in all.compactMap(\.self) {
        #expect(address % UInt(alignment) == 0)
        heap.free(address)
      }
    }
  }
}
