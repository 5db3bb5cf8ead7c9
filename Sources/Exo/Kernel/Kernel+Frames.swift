import ExoABI

extension Kernel {
  /// Takes frames for an environment, which owns them from here on: those named, all or none, or up to `count` of any
  /// that lie side by side.
  mutating func allocateFrames(
    _ first: Frame?, count: Int, for id: EnvironmentID
  ) throws(Refusal) -> (capability: CapabilityHandle, run: (first: Frame, count: Int)) {
    guard let account = capabilities.quotas.account(of: id) else { throw .absent }
    let allowance = Int(clamping: account.available(.frames))
    let run: (first: Frame, count: Int)
    if let first {
      guard count <= allowance else { throw .quota }
      guard Int(first.number) + count <= frames.count else { throw .outOfRange }
      if (0..<count).contains(where: { !frames.isFree(first.advanced(by: $0)) }) { reclaim() }
      guard frames.allocate(at: first, count: count, kind: .data, owner: id) else { throw .busy }
      run = (first, count)
    } else {
      let wanted = min(count, allowance)
      guard wanted > 0 else { throw .quota }
      if frames.freeCount < wanted { reclaim() }
      guard let found = frames.allocate(upTo: wanted, kind: .data, owner: id) else { throw .noMemory }
      run = found
    }
    try charge(run.count, to: id)
    do throws(CapabilityError) {
      let authority = Authority(
        .frames(Run(first: run.first.number, count: UInt32(run.count))!), Resource.Kind.frames.rights)
      return (try capabilities.mint(authority, in: id), run)
    } catch {
      // Never mapped, so clean and unseen.
      uncharge(run.count, of: id)
      for i in 0..<run.count { frames.release(run.first.advanced(by: i)) }
      publishFreeCount()
      throw Refusal(error)
    }
  }

  /// Adds frames to what an environment holds.
  mutating func charge(_ count: Int, to id: EnvironmentID) throws(Refusal) {
    do { try capabilities.quotas.charge(UInt64(count), .frames, to: id) } catch { throw .quota }
    addHeld(count, to: id)
  }
  mutating func uncharge(_ count: Int, of id: EnvironmentID) {
    do { try capabilities.quotas.release(UInt64(count), .frames, of: id) } catch { return }
    addHeld(-count, to: id)
  }
  private mutating func addHeld(_ count: Int, to id: EnvironmentID) {
    if var domain = domains[id] {
      domain.framesHeld += count
      domain.framesPeak = max(domain.framesPeak, domain.framesHeld)
      domains[id] = domain
      publishStatus(domain.shell, framesHeld: domain.framesHeld)
    }
    publishFreeCount()
  }
  /// What is still charged to a dead environment, its page tables, goes to the pool of shells with them.
  mutating func releaseCharges(of id: EnvironmentID) {
    uncharge(domains[id]?.framesHeld ?? 0, of: id)
    do { try capabilities.quotas.close(id) } catch { logFault("closing the quota of \(id): \(error)") }
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
