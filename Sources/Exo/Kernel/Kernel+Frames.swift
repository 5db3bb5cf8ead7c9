import ExoABI

extension Kernel {
  /// Takes frames for an environment, which owns them from here on: those named, all or none; or up to `count` of any
  /// that lie side by side; or, if they must be aligned, all of `count`.
  mutating func allocateFrames(
    _ first: Frame?, count: Int, alignment: Int = 1, for id: EnvironmentID
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
      if alignment > 1 {
        guard wanted == count else { throw .quota }
        if !frames.hasRun(count, alignment: alignment) { reclaim() }
        guard let found = frames.allocate(count, alignment: alignment, kind: .data, owner: id) else {
          throw .noMemory
        }
        run = (found, count)
      } else {
        guard let found = frames.allocate(upTo: wanted, kind: .data, owner: id) else { throw .noMemory }
        run = found
      }
    }
    try charge(run.count, to: id)
    do throws(CapabilityError) {
      let authority = Authority(
        .frames(Run(first: run.first.number, count: UInt32(run.count))!), Resource.Kind.frames.rights)
      let handle = try capabilities.mint(authority, in: id)
      addRun(run.first, count: run.count, to: id)
      return (handle, run)
    } catch {
      // Never mapped, so clean and unseen.
      uncharge(run.count, of: id)
      for i in 0..<run.count { frames.release(run.first.advanced(by: i)) }
      publishFreeCount()
      throw Refusal(error)
    }
  }

  // --- the list that an environment reads of what it owns

  private mutating func addRun(_ first: Frame, count: Int, to id: EnvironmentID) {
    func add(to domain: inout Domain) -> Int {
      domain.runs.append((first.number, UInt32(count)))
      return domain.runs.count - 1
    }
    guard let place = domains.index(forKey: id) else { return }
    let index = add(to: &domains.values[place])
    publishRun(index, of: domains.values[place])
  }
  mutating func removeRun(_ first: Frame, of id: EnvironmentID) {
    guard var domain = domains.removeValue(forKey: id) else { return }
    if let index = domain.runs.lastIndex(where: { $0.first == first.number }) {
      domain.runs.swapAt(index, domain.runs.count - 1)
      domain.runs.removeLast()
      publishRun(index, of: domain)
    }
    domains[id] = domain
  }
  /// Publishes one entry and the count.
  private func publishRun(_ index: Int, of domain: Domain) {
    let base = domain.shell.frameList.address.value
    let capacity = 511
    if index < min(domain.runs.count, capacity) {
      let run = domain.runs[index]
      memory.store(UInt64(run.first) | UInt64(run.count) << 32, PhysicalAddress(base + 8 + UInt64(index) * 8))
    }
    let truncated: UInt64 = domain.runs.count > capacity ? 1 : 0
    memory.store(UInt64(min(domain.runs.count, capacity)) | truncated << 32, PhysicalAddress(base))
  }

  /// Adds frames to what an environment holds.
  mutating func charge(_ count: Int, to id: EnvironmentID) throws(Refusal) {
    do { try capabilities.quotas.charge(UInt64(count), .frames, to: id) } catch { throw .quota }
    addHeld(count, to: id)
  }
  mutating func uncharge(_ count: Int, of id: EnvironmentID) {
    do { try capabilities.quotas.release(UInt64(count), .frames, of: id) } catch { return }
    addHeld(-count, to: id)
    settleRevocation(of: id)
  }
  private mutating func addHeld(_ count: Int, to id: EnvironmentID) {
    func add(to domain: inout Domain) -> (start: Frame, held: Int) {
      domain.framesHeld += count
      domain.framesPeak = max(domain.framesPeak, domain.framesHeld)
      return (domain.shell.start, domain.framesHeld)
    }
    if let place = domains.index(forKey: id) {
      let (start, held) = add(to: &domains.values[place])
      publishStatus(start, framesHeld: held)
    }
    publishFreeCount()
  }
  /// What is still charged to a dead environment, its shell, is the machine's again.
  mutating func releaseCharges(of id: EnvironmentID) {
    uncharge(domains[id]?.framesHeld ?? 0, of: id)
    do { try capabilities.quotas.close(id) } catch { logFault("closing the quota of \(id): \(error)") }
  }

  /// Takes frames away from everybody who maps them. They have no owner until `reclaim` has made sure that nobody
  /// sees them any more.
  mutating func retire(_ first: Frame, count: Int) {
    var seen: [EnvironmentID: [Frame]] = [:]
    for i in 0..<count {
      for mapping in frames.mappings(of: first.advanced(by: i)) {
        // The neighbours in a huge page go too, though they may stay with their owner.
        seen[mapping.environment, default: []] += unbind(mapping)
      }
    }
    for (environment, unbound) in seen { linger(unbound, in: environment) }
    translationsOf(seen.values.flatMap { $0 })
    for i in 0..<count {
      let frame = first.advanced(by: i)
      frames.retire(frame)
      retired.append(frame)
    }
  }

  /// Gives retired frames back to the machine, once nobody who had them bound can see them any more: zeroed.
  mutating func reclaim() {
    // Surplus shells are worth the pause only when memory is.
    if frames.freeCount < frames.count / 16 { dismantle() }
    guard !retired.isEmpty else { return }
    if retired.contains(where: { frames.isLingering($0) }) {
      for id in lingerers { settle(id) }
    }
    for frame in retired {
      memory.zero(frame)
      frames.release(frame)
    }
    retired.removeAll()
    publishFreeCount()
  }

  /// The runs of frames side by side, in order, each frame in one.
  /// - Parameter gap: runs with no more frames between them are one, those frames included.
  func runs(of unsorted: [Frame], joiningGaps gap: Int = 0) -> [FrameRuns.Run] {
    let sorted = unsorted.sorted()
    var runs: [FrameRuns.Run] = []
    for frame in sorted {
      if let last = runs.last, frame.number <= last.first.number + UInt32(last.count + gap) {
        runs[runs.count - 1].count = Int(frame.number - last.first.number) + 1
      } else {
        runs.append((frame, 1))
      }
    }
    return runs
  }
}
