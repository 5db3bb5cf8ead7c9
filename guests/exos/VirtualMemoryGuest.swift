import ExosMemory
import ExosSupport
import GuestRuntime
import LibOS

/// Regions of every kind, and the faults that make them.
func virtualMemory() {
  Promises.part("addresses", addresses)
  Promises.part("demand", demand)
  Promises.part("copies", copies)
  Promises.part("stacks", stacks)
  Promises.part("paging", paging)
  Promises.part("primitives", primitives)
  Promises.finish()
}

/// Words of a region.
struct Words {
  let address: UInt64
  init(_ region: VirtualRegion) { address = region.start }
  subscript(page: Int, word: Int = 0) -> UInt64 {
    get { SharedWords(address: address)[page * 512 + word] }
    nonmutating set { SharedWords(address: address)[page * 512 + word] = newValue }
  }
}

nonisolated(unsafe) private var hasBegun = false

/// Virtual memory, begun by the first that asks.
func begunMemory() throws(ExocallError) -> VirtualMemory<MachinePages> {
  if !hasBegun { try ProgramMemory.begin() }
  hasBegun = true
  return ProgramMemory.shared
}

/// An exocall's refusal, as the guests' checks know it, whatever virtual memory says of it.
func inVirtualMemory<R>(_ body: () throws(VirtualMemoryError) -> R) throws(ExocallError) -> R {
  do throws(VirtualMemoryError) { return try body() } catch {
    switch error {
    case .refused(let reason): throw reason
    case .noFrames: throw .outOfMemory
    case .noRegion: throw .noEntry
    case .noRoom: throw .exists
    case .unsupported: throw .invalid
    case .store: throw .inputOutput
    }
  }
}

nonisolated(unsafe) private var seen: (count: Int, right: Int, unknown: Int) = (0, 0, 0)

/// The address that the decoder works out is the one in CR2, for every kind of instruction.
private func addresses() throws(ExocallError) {
  let base = SharedPage.first
  let grant = try Exocall.frameAllocate(count: 2)
  guard grant.count == 2 else { return Promises.check(false, "two frames side by side") }
  try grant.owner.map(at: base, pages: 2, [.read, .write])
  let page = base + 4096
  try Exceptions.bind(.pageFault) { frame in
    seen.count += 1
    let code = frame.error_code
    let worked = PageFaults.workOut(frame, isWrite: code & 2 != 0, isFetch: code & 16 != 0)
    if worked == frame.address { seen.right += 1 }
    if worked == nil { seen.unknown += 1 }
    try? Exocall.protect(page, pages: 1, rights: [.read, .write])
  }
  let features = Startup.page.pointee.features
  for index in 0..<exos_touch_count {
    let touch = exos_touch_at(index)
    guard UInt64(touch.features) & ~features == 0 else { continue }
    for rights in [[], .read] as [Rights] where rights.isEmpty || touch.is_write != 0 {
      try Exocall.protect(page, pages: 1, rights: rights)
      seen = (0, 0, 0)
      touch.run(page)
      let name = String(cString: touch.name)
      let isWide = name.hasPrefix("vgatherdps %ymm")
      Promises.check(
        seen.count == 1 && (isWide ? seen.unknown == 1 : seen.right == 1),
        "\(name), \(rights.isEmpty ? "no rights" : "read-only"): \(isWide ? "left to CR2" : "its address")")
    }
  }
  try Exceptions.unbind(.pageFault)
  try fallsBack(page)
  try Exocall.unmap(base, pages: 2)
  try grant.owner.drop()
}

/// What the decoder refuses comes by the gate that delivers CR2, and the next by the direct one again.
private func fallsBack(_ page: UInt64) throws(ExocallError) {
  var touched: [UInt64] = []
  touched.reserveCapacity(8)
  try PageFaults.bind { fault, _ in
    touched.append(fault.address)
    try? Exocall.protect(page, pages: 1, rights: [.read, .write])
  }
  let hasAVX2 = Startup.page.pointee.features & UInt64(EXO_FEATURE_AVX2) != 0
  for index in 0..<exos_touch_count {
    let touch = exos_touch_at(index)
    let name = String(cString: touch.name)
    guard (name.hasPrefix("vgatherdps %ymm") && hasAVX2) || name.hasPrefix("mov (%rdi)") else { continue }
    try Exocall.protect(page, pages: 1, rights: [])
    touch.run(page)
  }
  Promises.check(
    touched.count == (hasAVX2 ? 2 : 1) && touched.allSatisfy { $0 == page }
      && PageFaults.statistics.asked == (hasAVX2 ? 1 : 0) && PageFaults.statistics.decoded == 1,
    "a fault that cannot be decoded is asked for")
  try PageFaults.unbind()
}

private func demand() throws(ExocallError) {
  let memory = try begunMemory()
  let used = memory.machine.used
  let region = try inVirtualMemory { () throws(VirtualMemoryError) in try memory.makeRegion(pages: 1000) }
  let words = Words(region)
  Promises.check(memory.machine.used == used, "a region of 1,000 pages has no frames")
  Promises.check((0..<1000).allSatisfy { $0 % 50 != 0 || words[$0, 7] == 0 }, "its pages are zero")
  for page in stride(from: 0, to: 1000, by: 50) { words[page, 3] = UInt64(page) }
  Promises.check(
    memory.machine.used == used + 20 && (0..<20).allSatisfy { words[$0 * 50, 3] == UInt64($0) * 50 },
    "20 pages touched have 20 frames and keep what was written")
  try inVirtualMemory { () throws(VirtualMemoryError) in try memory.remove(region) }
  Promises.check(memory.machine.used == used, "a region removed gives them back")
  var options = RegionOptions()
  options.batch = 8
  let batched = try inVirtualMemory { () throws(VirtualMemoryError) in
    try memory.makeRegion(pages: 64, options)
  }
  let before = memory.statistics.faults
  for page in 0..<64 { Words(batched)[page] = 1 }
  Promises.check(memory.statistics.faults - before == 8, "brought in by eights, 64 pages take 8 faults")
}

private func copies() throws(ExocallError) {
  let memory = try begunMemory()
  let used = memory.machine.used
  let first = try inVirtualMemory { () throws(VirtualMemoryError) in try memory.makeRegion(pages: 32) }
  let words = Words(first)
  for page in 0..<32 { words[page, 1] = UInt64(page) }
  let second = try inVirtualMemory { () throws(VirtualMemoryError) in try memory.copy(first) }
  let others = Words(second)
  Promises.check(
    memory.machine.used == used + 32 && (0..<32).allSatisfy { others[$0, 1] == UInt64($0) },
    "a copy of 32 pages has the content and no frames of its own")
  let copied = memory.statistics.copied
  for page in 0..<8 { words[page, 1] = 1000 }
  for page in 4..<12 { others[page, 1] = 2000 }
  Promises.check(
    (0..<32).allSatisfy { words[$0, 1] == ($0 < 8 ? 1000 : UInt64($0)) }
      && (0..<32).allSatisfy { others[$0, 1] == (4..<12 ~= $0 ? 2000 : UInt64($0)) },
    "each is written apart from the other")
  Promises.check(
    memory.statistics.copied - copied == 12 && memory.machine.used == used + 44,
    "12 pages written first by either were copied")
  // Frames go back with whoever is last, and a copy of a copy works too.
  let third = try inVirtualMemory { () throws(VirtualMemoryError) in
    let third = try memory.copy(second)
    try memory.remove(first)
    try memory.remove(second)
    return third
  }
  Promises.check(
    Words(third)[5, 1] == 2000 && memory.machine.used == used + 32, "a copy outlives what it was made of")
}

nonisolated(unsafe) private var unresolved: (address: UInt64, outcome: FaultOutcome)?

private func stacks() throws(ExocallError) {
  let memory = try begunMemory()
  let used = memory.machine.used
  let stack = try inVirtualMemory { () throws(VirtualMemoryError) in
    try memory.makeRegion(pages: 64, .stack)
  }
  let words = Words(stack)
  for page in (40..<64).reversed() { words[page] = 5 }
  Promises.check(memory.machine.used == used + 24, "a stack of 64 pages has what it has used")
  ProgramMemory.onUnresolved = { fault, outcome, _ in
    unresolved = (fault.address, outcome)
    try? Exocall.map(
      memory.machine.name(of: PageFrame(slot: 0)).capability.handle, page: 0,
      at: stack.start, pages: 1, rights: [.read, .write])
    return true
  }
  words[0, 3] = 1
  Promises.check(
    unresolved?.outcome == .guardPage && unresolved?.address == stack.start + 24,
    "the page below it is a guard: reached, it tells")
  ProgramMemory.onUnresolved = nil
  try Exocall.unmap(stack.start, pages: 1)
  // Nobody handles it: the environment ends with a report of its own fault.
  var child = try Child.make(EnvironmentQuota(frames: 256, bindings: 64)) { _ in
    guard (try? ProgramMemory.begin()) != nil,
      let stack = try? ProgramMemory.shared.makeRegion(at: 0x6200_0000_0000, pages: 4, .stack)
    else { return 1 }
    for page in (0..<4).reversed() { Words(stack)[page] = 1 }
    return 0
  }
  try child.start()
  let end = try child.wait()
  Promises.check(
    end == .faulted(vector: 14, address: 0x6200_0000_0000), "an overflow nobody handles ends it: it \(end)")
}

private func paging() throws(ExocallError) {
  let memory = try begunMemory()
  let used = memory.machine.used
  var options = RegionOptions()
  options.frameLimit = 32
  let store = CompressedStore(pages: 512)
  let region = try inVirtualMemory { () throws(VirtualMemoryError) in
    try memory.makeRegion(pages: 512, options, store: store)
  }
  let words = Words(region)
  for round: UInt64 in 1...2 {
    for page in 0..<512 {
      for word in stride(from: 0, to: 512, by: 64) {
        words[page, word] = UInt64(page) &* 0x1_0001 &+ round &* UInt64(word)
      }
    }
  }
  var right = 0
  for page in 0..<512 {
    if stride(from: 0, to: 512, by: 64).allSatisfy({
      words[page, $0] == UInt64(page) &* 0x1_0001 &+ 2 &* UInt64($0)
    }) {
      right += 1
    }
  }
  let statistics = memory.statistics
  Promises.check(
    right == 512 && region.residentCount <= 32 && memory.machine.used <= used + 33,
    "a region of 512 pages in 32 frames: \(right) right, \(statistics.saved) saved, \(statistics.loaded) read back"
  )
  Promises.check(store.size < 512 * 1024, "its store took \(store.size >> 10) KiB for \(512 * 4) KiB")
  // Pages in use stay: the clock passes over them.
  let loads = memory.statistics.loaded
  for page in 0..<480 {
    _ = words[page]
    for hot in 500..<508 { _ = words[hot] }
  }
  let extra = memory.statistics.loaded - loads - 480
  Promises.check(
    extra < 200, "8 pages used all the time were read back \(extra) times while 480 others passed")
  // The store's room is over: an error that says so, and nothing is lost.
  let small = CompressedStore(pages: 64, budget: 2000)
  options.frameLimit = 4
  let poor = try inVirtualMemory { () throws(VirtualMemoryError) in
    try memory.makeRegion(pages: 64, options, store: small)
  }
  ProgramMemory.onUnresolved = { fault, outcome, _ in
    unresolved = (fault.address, outcome)
    return false
  }
  let outcome = (0..<64).lazy.map { page -> FaultOutcome in
    let outcome = memory.resolve(poor.address(of: page), isWrite: true)
    if outcome == .resolved {
      for word in 0..<512 { Words(poor)[page, word] = Clock.ticks &* 0x9e37_79b9_7f4a_7c15 }
    }
    return outcome
  }.first { $0 != .resolved }
  Promises.check(outcome == .failed(.store(.full)), "a store that is full is a typed error")
}

private func primitives() throws(ExocallError) {
  let memory = try begunMemory()
  let region = try inVirtualMemory { () throws(VirtualMemoryError) in try memory.makeRegion(pages: 100) }
  let words = Words(region)
  for page in 0..<100 { words[page] = 1 }
  Promises.check((0..<100).allSatisfy { memory.isDirty(region, $0) }, "100 pages written are dirty")
  try inVirtualMemory { () throws(VirtualMemoryError) in try memory.forgetDirty(region) }
  words[13] = 2
  _ = words[14]
  Promises.check(
    (0..<100).allSatisfy { memory.isDirty(region, $0) == ($0 == 13) },
    "told to forget, only what is written since is")
  var trapped: [Int] = []
  trapped.reserveCapacity(100)
  region.onTrap = { address, isWrite in
    let page = Int((address - region.start) >> 12)
    trapped.append(isWrite ? page : -1)
    return (try? memory.protect(region, page..<page + 1, [.read, .write])) != nil
  }
  try inVirtualMemory { () throws(VirtualMemoryError) in try memory.protect(region, 0..<100, .read) }
  for page in stride(from: 0, to: 100, by: 7) { words[page] = 3 }
  for page in stride(from: 0, to: 100, by: 7) { words[page] = 4 }
  Promises.check(
    trapped == Array(stride(from: 0, to: 100, by: 7)) && words[7] == 4 && words[8] == 1,
    "protected at once, each page traps at its first write and no more")
  try inVirtualMemory { () throws(VirtualMemoryError) in try memory.protect(region, 0..<100, []) }
  trapped = []
  trapped.reserveCapacity(100)
  _ = words[50]
  Promises.check(trapped == [-1], "a page without rights traps when it is read")
  let second = try inVirtualMemory { () throws(VirtualMemoryError) in
    let second = try memory.makeRegion(pages: 1)
    try memory.alias(50, of: region, at: 0, of: second)
    return second
  }
  Words(second)[0, 9] = 77
  Promises.check(words[50, 9] == 77, "a page mapped twice is one page")
}
