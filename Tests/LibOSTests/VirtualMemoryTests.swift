import Testing

@testable import ExosMemoryHost
@testable import LibOSHost

/// Virtual memory against a model that knows only what each word must be.
@Suite struct VirtualMemoryTests {
  typealias Memory = VirtualMemory<SimulatedPages>
  static let bounds: Range<UInt64> = 0x1000_0000..<0x9000_0000

  /// An access as a program makes it: faults are resolved, the access is tried again.
  static func access(
    _ memory: Memory, _ address: UInt64, isWrite: Bool
  ) -> (place: UnsafeMutablePointer<UInt64>?, outcome: FaultOutcome) {
    var outcome = FaultOutcome.resolved
    for _ in 0..<3 {
      if let place = memory.machine.access(address, isWrite: isWrite) { return (place, .resolved) }
      outcome = memory.resolve(address, isWrite: isWrite)
      guard outcome == .resolved || outcome == .trapped else { break }
    }
    return (nil, outcome)
  }

  struct Known {
    var region: VirtualRegion
    var words: [UInt64]
    var rights: [Rights]
    var dirty: [Bool]
  }

  @Test(arguments: 0..<12)
  func itKeepsWhatWasWritten(seed: UInt64) throws {
    var random = Randomness(state: seed &* 31 &+ 5)
    let memory = Memory(machine: SimulatedPages(frames: 60), bounds: Self.bounds)
    memory.machine.refusal = seed & 1 == 0 ? 0 : 40
    memory.machine.random.state = seed
    defer { memory.machine.deallocate() }
    var known: [Known] = []
    func pick(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    for step in 0..<4000 {
      let choice = known.isEmpty ? 0 : pick(100)
      switch choice {
      case 0...3 where known.count < 6:
        var options = RegionOptions()
        let pages = 1 + pick(40)
        options.batch = 1 + pick(4)
        if pick(3) == 0 { options.frameLimit = 1 + pick(6) }
        let store = options.frameLimit.map { _ in CompressedStore(pages: pages) }
        let region = try memory.makeRegion(pages: pages, options, store: store)
        known.append(
          Known(
            region: region, words: [UInt64](repeating: 0, count: pages),
            rights: [Rights](repeating: [.read, .write], count: pages),
            dirty: [Bool](repeating: false, count: pages)))
      case 4...5:
        let index = pick(known.count)
        if (try? memory.remove(known[index].region)) != nil { known.remove(at: index) }
      case 6...8 where known.count < 6:
        let source = known[pick(known.count)]
        if let copy = try? memory.copy(source.region) {
          known.append(
            Known(
              region: copy, words: source.words, rights: source.rights,
              dirty: source.dirty.map { _ in false }))
        }
      case 9...14:
        let index = pick(known.count)
        let first = pick(known[index].words.count)
        let range = first..<first + 1 + pick(known[index].words.count - first)
        let rights: Rights = [[], .read, [.read, .write]][pick(3)]
        // Where the machine refuses a part of it, the wish stands all the same.
        try? memory.protect(known[index].region, range, rights)
        for page in range { known[index].rights[page] = rights }
      case 15...16:
        let index = pick(known.count)
        if (try? memory.forgetDirty(known[index].region)) != nil {
          for page in known[index].dirty.indices { known[index].dirty[page] = false }
        }
      default:
        let index = pick(known.count)
        let page = pick(known[index].words.count)
        let address = known[index].region.address(of: page) + UInt64(page % 512) * 8
        let isWrite = pick(2) == 0
        let (place, outcome) = Self.access(memory, address, isWrite: isWrite)
        let isAllowed = known[index].rights[page].contains(isWrite ? .write : .read)
        guard let place else {
          if !isAllowed {
            #expect(outcome == .forbidden, "step \(step)")
          } else {
            #expect(
              outcome == .failed(.noFrames) || outcome == .failed(.refused(.outOfMemory)), "step \(step)")
          }
          continue
        }
        // A refused protect may leave more than was wished; what was granted is never too much.
        #expect(isAllowed || memory.machine.refusal > 0, "step \(step)")
        #expect(place.pointee == known[index].words[page], "step \(step), page \(page)")
        if isWrite {
          place.pointee = random.next()
          known[index].words[page] = place.pointee
          known[index].dirty[page] = true
          #expect(memory.isDirty(known[index].region, page))
        }
      }
      try check(memory, known, step)
    }
    memory.machine.refusal = 0
    for entry in memory.regions.entries { try memory.remove(entry.value) }
    #expect(memory.machine.used == 0 && memory.machine.table.isEmpty)
  }

  /// No frame that two regions see is writable in either; every mapping is of a page that is there.
  private func check(_ memory: Memory, _ known: [Known], _ step: Int) throws {
    var seen: [PageFrame: Int] = [:]
    // A copy that was refused half way and could not be taken back either is a region too, though nobody's.
    for entry in memory.regions.entries {
      for page in entry.value.pages { if case .resident(let frame) = page { seen[frame, default: 0] += 1 } }
    }
    for each in known {
      if let limit = each.region.options.frameLimit { #expect(each.region.residentCount <= limit) }
    }
    #expect(seen.count == memory.machine.used, "step \(step)")
    // After a refusal the table may lag behind; every fault puts its page right.
    if memory.machine.refusal == 0 {
      for mapping in memory.machine.table.values where seen[mapping.frame, default: 0] > 1 {
        #expect(!mapping.rights.contains(.write), "step \(step)")
      }
    }
  }

  @Test func theGuardTellsAnOverflow() throws {
    let memory = Memory(machine: SimulatedPages(frames: 8), bounds: Self.bounds)
    defer { memory.machine.deallocate() }
    let stack = try memory.makeRegion(pages: 4, .stack)
    #expect(memory.resolve(stack.address(of: 3), isWrite: true) == .resolved)
    #expect(memory.resolve(stack.address(of: 0) + 4088, isWrite: true) == .guardPage)
    #expect(memory.resolve(stack.start - 1, isWrite: true) == .noRegion)
    #expect(memory.resolve(stack.start + 4 << 12, isWrite: true) == .noRegion)
  }

  final class Unreliable: PageStore {
    var isGone = false
    var pages: [Int: [UInt8]] = [:]
    func save(_ page: Int, from contents: UnsafeRawPointer) throws(PageStoreError) {
      if isGone { throw .lost }
      pages[page] = Array(UnsafeRawBufferPointer(start: contents, count: 4096))
    }
    func load(_ page: Int, into contents: UnsafeMutableRawPointer) throws(PageStoreError) {
      guard !isGone, let bytes = pages[page] else { throw .lost }
      contents.copyMemory(from: bytes, byteCount: 4096)
    }
  }

  @Test func aStoreThatIsGoneIsAnErrorAndNothingElseIsLost() throws {
    let memory = Memory(machine: SimulatedPages(frames: 8), bounds: Self.bounds)
    defer { memory.machine.deallocate() }
    var options = RegionOptions()
    options.frameLimit = 2
    let store = Unreliable()
    let region = try memory.makeRegion(pages: 6, options, store: store)
    for page in 0..<6 {
      Self.access(memory, region.address(of: page), isWrite: true).place?.pointee = UInt64(page)
    }
    let resident = region.pages.indices.filter {
      if case .resident = region.pages[$0] { true } else { false }
    }
    store.isGone = true
    for page in 0..<6 where !resident.contains(page) {
      #expect(memory.resolve(region.address(of: page), isWrite: false) == .failed(.store(.lost)))
    }
    for page in resident {
      #expect(Self.access(memory, region.address(of: page), isWrite: false).place?.pointee == UInt64(page))
    }
    #expect(memory.machine.used == 2)
    // Back again, everything is there.
    store.isGone = false
    for page in 0..<6 {
      #expect(Self.access(memory, region.address(of: page), isWrite: false).place?.pointee == UInt64(page))
    }
  }

  @Test func regionsThatCannotBeAreRefused() throws {
    let memory = Memory(machine: SimulatedPages(frames: 1), bounds: Self.bounds)
    defer { memory.machine.deallocate() }
    let region = try memory.makeRegion(at: 0x2000_0000, pages: 4)
    #expect(throws: VirtualMemoryError.noRoom) { try memory.makeRegion(at: 0x2000_3000, pages: 1) }
    #expect(throws: VirtualMemoryError.noRoom) { try memory.makeRegion(at: 0x2000_0001, pages: 1) }
    #expect(throws: VirtualMemoryError.noRoom) { try memory.makeRegion(pages: 1 << 30) }
    #expect(throws: VirtualMemoryError.unsupported) { try memory.makeRegion(pages: 1, .stack) }
    #expect(throws: VirtualMemoryError.noRegion) { try memory.protect(region, 2..<5, .read) }
    #expect(throws: VirtualMemoryError.unsupported) { try memory.protect(region, 0..<1, [.read, .execute]) }
    try memory.remove(region)
    #expect(throws: VirtualMemoryError.noRegion) { try memory.remove(region) }
  }

  @Test(arguments: 0..<200) func pagesComeBackFromTheCodecAsTheyWere(seed: UInt64) {
    var random = Randomness(state: seed)
    var page = [UInt32](repeating: 0, count: 1024)
    for index in page.indices {
      switch seed % 5 {
      case 0: page[index] = random.next() % 9 == 0 ? UInt32(truncatingIfNeeded: random.next()) : 0
      case 1: page[index] = 0x4000_0000 | UInt32(random.next() & 0x3ff)
      case 2: page[index] = UInt32(truncatingIfNeeded: random.next())
      case 3: page[index] = UInt32(random.next() % 20) << 12 | UInt32(random.next() & 7)
      default: page[index] = UInt32(index)
      }
    }
    var out = [UInt8](repeating: 0, count: PageCodec.limit)
    guard let length = out.withUnsafeMutableBytes({ PageCodec.compress(page, into: $0.baseAddress!) }) else {
      return #expect(seed % 5 == 2)
    }
    var back = [UInt32](repeating: 1, count: 1024)
    #expect(back.withUnsafeMutableBytes { PageCodec.expand(out, count: length, into: $0.baseAddress!) })
    #expect(back == page)
    #expect(!back.withUnsafeMutableBytes { PageCodec.expand(out, count: length - 1, into: $0.baseAddress!) })
  }

  @Test func rangesFindTheirPlace() {
    var map = RegionMap<Int>()
    let inserted = [
      (0x5000, 2, 1), (0x1000, 2, 2), (0x2000, 1, 3), (0, 2, 3), (0x4000, 2, 3), (0x3000, 2, 4),
    ].map {
      map.insert(start: UInt64($0.0), pages: UInt64($0.1), $0.2)
    }
    #expect(inserted == [true, true, false, false, false, true])
    #expect(map[0x6fff] == 1 && map[0x7000] == nil && map[0x0] == nil && map[0x2fff] == 2)
    #expect(map.gap(pages: 1, in: 0..<0x10000) == 0x8000)
    let removed = [map.remove(start: 0x3000), map.remove(start: 0x5001)]
    #expect(removed == [4, nil])
    #expect(map.gap(pages: 1, in: 0..<0x10000) == 0x8000)
    let last = map.insert(start: 0xa000, pages: 1, 5)
    #expect(last)
    #expect(map.gap(pages: 1, in: 0x1000..<0xa000) == 0x8000 && map.gap(pages: 9, in: 0..<0xd000) == nil)
  }
}
