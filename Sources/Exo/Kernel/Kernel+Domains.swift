import ExoABI

/// Why an environment could not be made from an image.
public enum LaunchError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The machine, or the limit set, has too few frames for the image, its stack and its arguments.
  case outOfMemory(neededFrames: Int, available: Int)
  /// Arguments and environment variables together are longer than the argument pages.
  case argumentsTooLong(bytes: Int, limit: Int)
  /// A NUL byte inside an argument or a variable.
  case argumentWithNUL(index: Int)
  /// The machine has been shut down.
  case machineStopped
  /// The environment was started before, or has been ended.
  case notStartable
  case host(HostError)

  public var description: String {
    switch self {
    case .outOfMemory(let needed, let available):
      "the guest needs \(needed) frames of memory to start and \(available) are free; give it more with --memory"
    case .argumentsTooLong(let bytes, let limit):
      "arguments and environment take \(bytes) bytes, at most \(limit) fit"
    case .argumentWithNUL(let index): "argument \(index) contains a NUL byte"
    case .machineStopped: "the machine has been shut down"
    case .notStartable: "the environment was started before or has ended"
    case .host(let error): error.description
    }
  }
}

/// What an environment is made from.
struct DomainRequest {
  let id: EnvironmentID
  let image: GuestImage?
  let quota: Quota
  let features: UInt64
  let latch: ExecutionLatch
  var processor = 0
}

extension Kernel {
  /// Builds an environment's address space: kit, image, stack.
  mutating func createDomain(_ request: DomainRequest) throws(LaunchError) {
    let segments = request.image?.segments ?? []
    let bytes = request.image?.bytes ?? []
    let imagePages = segments.reduce(0) { $0 + $1.pageCount }
    // Besides: the kit and its tables, and a few tables for the rest.
    let needed = imagePages + Int(EXO_STACK_PAGES) + Shell.framesNeeded + 9
    let available = min(
      frames.freeCount + retired.count + surplusFrames, Int(clamping: request.quota.frames))
    func outOfMemory() -> LaunchError { .outOfMemory(neededFrames: needed, available: available) }
    guard needed <= available else { throw outOfMemory() }
    let shell: Shell
    do { shell = try takeShell() } catch { throw outOfMemory() }
    domains[request.id] = Domain(
      id: request.id, shell: shell, latch: request.latch, processor: request.processor)
    do {
      try capabilities.open(request.id, limit: request.quota)
      try charge(shell.frameCount, to: request.id)
      for segment in segments {
        try populate(
          request.id, at: segment.address, pages: segment.pageCount, rights: segment.rights,
          content: bytes[segment.fileRange], offset: segment.contentOffset)
      }
      let stackLow = GuestAddress(exo_stack_top - UInt64(EXO_STACK_PAGES) << 12)
      try populate(request.id, at: stackLow, pages: Int(EXO_STACK_PAGES), rights: [.read, .write])
      writeStartPage(request, shell: domains[request.id]!.shell)
    } catch {
      destroyDomain(request.id)
      throw outOfMemory()
    }
  }

  /// Gives an environment that has not been started its arguments and variables.
  mutating func addArguments(
    _ arguments: [String], _ variables: [String], to id: EnvironmentID
  ) throws(LaunchError) {
    let block = try ArgumentBlock(arguments: arguments, variables: variables)
    guard let account = capabilities.quotas.account(of: id), let start = domains[id]?.shell.start else {
      throw .notStartable
    }
    do {
      try populate(
        id, at: GuestAddress(exo_kit_arguments), pages: block.pages, rights: .read,
        content: block.bytes[...], offset: 0)
    } catch {
      let available = min(frames.freeCount + retired.count, Int(clamping: account.available(.frames)))
      throw .outOfMemory(neededFrames: block.pages + 1, available: available)
    }
    func store(_ value: Int, _ field: PartialKeyPath<exo_start>) {
      guard let offset = MemoryLayout<exo_start>.offset(of: field) else { return }
      memory.store(UInt64(value), PhysicalAddress(start.address.value + UInt64(offset)))
    }
    store(arguments.count, \.argument_count)
    store(variables.count, \.environment_count)
    store(Int(exo_kit_arguments) + arguments.count * 8, \.environment_variables)
  }

  /// An environment with nothing but its kit, for another one to fill. Its quota is part of its creator's, which also
  /// gets the first capability to it.
  mutating func createChild(_ request: DomainRequest, of creator: EnvironmentID) throws(Refusal)
    -> CapabilityHandle
  {
    do { try capabilities.open(request.id, under: creator, limit: request.quota) } catch {
      throw Refusal(error)
    }
    do throws(Refusal) {
      let shell = try takeShell()
      domains[request.id] = Domain(
        id: request.id, shell: shell, latch: request.latch, processor: request.processor)
      try charge(shell.frameCount, to: request.id)
      writeStartPage(request, shell: shell)
      let authority = Authority(.environment(request.id), Resource.Kind.environment.rights)
      do { return try capabilities.mint(authority, in: creator) } catch { throw Refusal(error) }
    } catch {
      for removed in capabilities.removeAll(of: request.id) { breakBindings(of: removed) }
      releaseCharges(of: request.id)
      if let domain = domains.removeValue(forKey: request.id) { giveBack(domain.shell) }
      throw error
    }
  }

  /// New frames, filled and mapped at consecutive pages; the environment owns them.
  private mutating func populate(
    _ id: EnvironmentID, at start: GuestAddress, pages: Int, rights: Rights,
    content: ArraySlice<UInt8> = [], offset: Int = 0
  ) throws(Refusal) {
    var page = 0
    while page < pages {
      let run = try allocateFrames(nil, count: pages - page, for: id).run
      try mapPages(
        run.first, at: start.advanced(byPages: page), pages: run.count, rights: rights,
        granted: rights.onHardware, in: id)
      // The part of the content that falls into this run.
      let low = max(page << 12, offset)
      let high = min((page + run.count) << 12, offset + content.count)
      if low < high {
        let from = content.startIndex + low - offset
        memory.write(
          content[from..<from + high - low],
          at: PhysicalAddress(run.first.address.value + UInt64(low - page << 12)))
      }
      page += run.count
    }
  }

  private func writeStartPage(_ request: DomainRequest, shell: Shell) {
    memory.write(
      exo_start(
        abi_version: UInt32(EXO_ABI_VERSION), environment: request.id.number,
        submission_ring: exo_kit_submission, completion_ring: exo_kit_completion,
        doorbell: exo_kit_doorbell, status: exo_kit_start + UInt64(EXO_STATUS_OFFSET),
        machine: exo_kit_machine, stack_low: exo_stack_top - UInt64(EXO_STACK_PAGES) << 12,
        stack_top: exo_stack_top, argument_count: 0, arguments: exo_kit_arguments, environment_count: 0,
        environment_variables: exo_kit_arguments,
        features: request.features, frame_limit: request.quota.frames,
        image_end: request.image?.end.value ?? 0, frame_list: exo_kit_frames, tables: exo_kit_tables,
        events: exo_kit_events,
        control: exo_kit_trap + UInt64(EXO_CONTROL_OFFSET), ring_served: 0),
      at: shell.start.address)
    publishStatus(shell.start, framesHeld: domains[request.id]!.framesHeld)
  }

  /// Breaks every binding of an environment whose vCPU has left guest mode for good. What it owned has no owner after
  /// this; its shell serves the next one.
  mutating func destroyDomain(_ id: EnvironmentID) {
    guard domains[id] != nil else { return }
    let creator = capabilities.quotas.account(of: id)?.parent
    // Nobody reads the list of its frames any more: it is not kept up while they go one by one.
    domains[id]?.runs = []
    endRevocation(of: id)
    disconnectAll(of: id)
    releaseGuarantees(of: id)
    clearUserMappings(of: id)
    for removed in capabilities.removeAll(of: id) {
      breakBindings(of: removed, mapsNothing: removed.environment == id)
    }
    releaseCharges(of: id)
    if let domain = domains.removeValue(forKey: id) { giveBack(domain.shell) }
    if let creator { settleRevocation(of: creator) }
    reclaim()
  }

  func publishStatus(_ start: Frame, framesHeld: Int) {
    memory.store(
      UInt64(framesHeld), PhysicalAddress(start.address.value + UInt64(EXO_STATUS_OFFSET) + 8))
  }
}
