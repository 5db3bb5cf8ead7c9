import ExoABI

extension Kernel {
  /// Up to `wanted` clean frames that lie side by side, charged to the environment.
  mutating func allocateRun(upTo wanted: Int, for id: EnvironmentID) throws(Refusal) -> (
    first: Frame, count: Int
  ) {
    guard let domain = domains[id] else { throw .absent }
    let allowance = domain.frameLimit - domain.framesHeld
    guard allowance > 0 else { throw .quota }
    if frames.freeCount < min(wanted, allowance) { reclaim() }
    guard let run = frames.allocate(upTo: min(wanted, allowance), kind: .data, owner: id) else {
      throw .noMemory
    }
    charge(run.count, to: id)
    return run
  }

  /// These particular frames, all or none.
  mutating func allocate(_ first: Frame, count: Int, for id: EnvironmentID) throws(Refusal) {
    guard let domain = domains[id] else { throw .absent }
    guard count <= domain.frameLimit - domain.framesHeld else { throw .quota }
    guard Int(first.number) + count <= frames.count else { throw .outOfRange }
    if (0..<count).contains(where: { !frames.isFree(first.advanced(by: $0)) }) { reclaim() }
    guard frames.allocate(at: first, count: count, kind: .data, owner: id) else { throw .busy }
    charge(count, to: id)
  }

  /// Adds frames to what an environment holds, or takes them off (negative).
  mutating func charge(_ count: Int, to id: EnvironmentID) {
    guard var domain = domains[id] else { return }
    domain.framesHeld += count
    domain.framesPeak = max(domain.framesPeak, domain.framesHeld)
    domains[id] = domain
    publishStatus(domain.shell, framesHeld: domain.framesHeld)
    publishFreeCount()
  }

  /// Takes frames away from everybody who maps them. They have no owner until `reclaim` has made sure that nobody
  /// sees them any more.
  mutating func retire(_ first: Frame, count: Int) {
    var seenBy: [EnvironmentID: ExecutionLatch] = [:]
    for i in 0..<count {
      let frame = first.advanced(by: i)
      for mapping in frames.mappings(of: frame) {
        guard let domain = domains[mapping.environment] else { continue }
        seenBy[mapping.environment] = domain.latch
        clearEntry(at: mapping.address, in: domain.shell.space)
        frames.removeMapping(mapping, from: frame)
      }
    }
    dropTranslations(first, count: count)
    let latches = Array(seenBy.values)
    for i in 0..<count {
      let frame = first.advanced(by: i)
      frames.retire(frame)
      retired.append(RetiredFrame(frame: frame, seenBy: latches))
    }
  }

  /// Gives retired frames back to the machine: unmapped and dropped before; then every vCPU that may have seen them
  /// leaves guest mode once; then the translations are dropped again, for one may have been made in between; then the
  /// frames are zeroed (SUBSTRATE: unmap, zap, quiesce, zap, zero, remap, in that order).
  mutating func reclaim() {
    guard !retired.isEmpty else { return }
    var evicted: Set<ObjectIdentifier> = []
    for latch in retired.flatMap(\.seenBy) where evicted.insert(ObjectIdentifier(latch)).inserted {
      latch.evict()
    }
    forEachRun(of: retired.map(\.frame)) { first, count in dropTranslations(first, count: count) }
    for entry in retired {
      memory.zero(entry.frame)
      frames.release(entry.frame)
    }
    retired.removeAll()
    publishFreeCount()
  }

  /// Calls `body` for each run of frames side by side.
  func forEachRun(of unsorted: [Frame], _ body: (_ first: Frame, _ count: Int) -> Void) {
    let sorted = unsorted.sorted()
    var start = 0
    while start < sorted.count {
      var end = start + 1
      while end < sorted.count, sorted[end].number == sorted[end - 1].number + 1 { end += 1 }
      body(sorted[start], end - start)
      start = end
    }
  }

  /// SUBSTRATE: after a page-table entry was cleared or lowered, this is what takes the old translation away.
  func dropTranslations(_ first: Frame, count: Int) {
    do {
      try memory.dropTranslations(first, count: count)
    } catch {
      // The range is mapped from construction to the end of the machine, so madvise has nothing to refuse.
      preconditionFailure("taking a page away failed: \(error)")
    }
  }
}
