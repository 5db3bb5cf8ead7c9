import ExoABI

/// DESIGN's invariants, walked over the real state: what the model tests ask after every step.
extension Kernel {
  /// Each way in which they do not hold; empty when all is well.
  ///
  /// Time in proportion to the machine: it looks at every frame, table, gate and capability.
  /// - Parameter isRead: which free frames are read through, to see that they hold nothing but zeros.
  func checkInvariants(contentOf isRead: (Frame) -> Bool = { _ in true }) -> [String] {
    var wrong = faults + capabilities.checkInvariants()
    let records = frames.records
    let owned = checkFrames(records, contentOf: isRead, &wrong)
    var found = [[FrameTable.Mapping]](repeating: [], count: frames.count)
    for (id, domain) in domains {
      checkTables(of: domain.shell, belongingTo: id, &wrong) { mapping, frame in
        found[Int(frame.number)].append(mapping)
      }
      checkGates(of: domain, id, &wrong)
      checkTransfer(of: domain, id, &wrong)
      checkAccount(of: domain, id, owning: owned[id] ?? 0, &wrong)
    }
    for shell in idleShells { checkTables(of: shell, belongingTo: nil, &wrong) { _, _ in } }
    checkInvertedMap(records, found, &wrong)
    checkPins(records, &wrong)
    checkSlices(&wrong)
    checkConnections(&wrong)
    checkNetwork(&wrong)
    let living = Set(domains.keys)
    if living != Set(capabilities.environments) { wrong.append("environments and capability tables differ") }
    let published = memory.load(PhysicalAddress(machinePage.address.value + 8))
    if published != UInt64(frames.freeCount) {
      wrong.append("\(published) free frames published, \(frames.freeCount) counted")
    }
    return wrong
  }

  // --- frames

  /// What each frame should be, from all those who say that they have it.
  private func census(_ wrong: inout [String]) -> [FrameTable.Kind] {
    var kinds = [FrameTable.Kind](repeating: .free, count: frames.count)
    func add(_ frame: Frame, _ kind: FrameTable.Kind) {
      let other = kinds[Int(frame.number)]
      if other != .free { wrong.append("\(frame) is \(other) and \(kind) at once") }
      kinds[Int(frame.number)] = kind
    }
    add(nucleusText, .nucleus)
    add(machinePage, .nucleus)
    for shell in idleShells + domains.values.map(\.shell) {
      for frame in shell.space.tables { add(frame, .pageTable) }
      for frame in [shell.tables.data, shell.tables.idt, shell.transfer.frame] { add(frame, .nucleus) }
      for page in shell.kitPages { add(page.frame, .kit) }
    }
    for resource in capabilities.roots.keys {
      guard case .frames(let run) = resource else { continue }
      for number in run.first..<run.end { add(Frame(number), .data) }
    }
    for connection in connections.values { add(connection.lines, .kit) }
    for frame in retired { add(frame, .retiring) }
    return kinds
  }

  /// One type at a time, that of whoever has it; what nobody has is free and clean. Returns how many frames of data each
  /// environment owns.
  private func checkFrames(
    _ records: [FrameTable.Record], contentOf isRead: (Frame) -> Bool, _ wrong: inout [String]
  ) -> [EnvironmentID: Int] {
    var free = 0
    var owned: [EnvironmentID: Int] = [:]
    let expected = census(&wrong)
    var remembered = [Int](repeating: 0, count: records.count)
    for domain in domains.values {
      for frame in domain.lingering { remembered[Int(frame.number)] += 1 }
    }
    for number in 0..<records.count {
      let (record, frame) = (records[number], Frame(UInt32(number)))
      if record.kind != expected[number] {
        wrong.append("\(frame) is \(record.kind), should be \(expected[number])")
      }
      if record.lingering != remembered[number] {
        wrong.append("\(frame) lingers \(remembered[number]) times, counted \(record.lingering)")
      }
      if record.isMarkedFree != (record.kind == .free) { wrong.append("\(frame): its free bit is wrong") }
      if record.kind != .data, record.isMapped || record.pins > 0 {
        wrong.append("\(frame), \(record.kind), is mapped or pinned")
      }
      if record.kind == .free {
        free += 1
        if isRead(frame), !memory.isZero(frame) { wrong.append("\(frame) is free and not zero") }
        continue
      }
      guard record.kind == .data else { continue }
      owned[record.owner, default: 0] += 1
      if !capabilities.holdsFrame(frame, .all, in: record.owner) {
        wrong.append("\(frame) is owned by \(record.owner) without a capability")
      }
    }
    if free != frames.freeCount { wrong.append("\(free) frames are free, \(frames.freeCount) counted") }
    return owned
  }

  /// What page tables map is what the inverted page map says, both ways.
  private func checkInvertedMap(
    _ records: [FrameTable.Record], _ found: [[FrameTable.Mapping]], _ wrong: inout [String]
  ) {
    for number in 0..<records.count where records[number].isMapped || !found[number].isEmpty {
      let listed = frames.mappings(of: Frame(UInt32(number)))
      let walked = found[number]
      if listed.count == walked.count, listed == walked || Set(listed) == Set(walked) { continue }
      wrong.append("frame \(number): mapped at \(walked), listed at \(listed)")
    }
  }

  // --- accounts

  /// What an environment owns, is charged for and is told of: its frames and its shell's.
  private func checkAccount(
    of domain: Domain, _ id: EnvironmentID, owning data: Int, _ wrong: inout [String]
  ) {
    let owned = data + domain.shell.frameCount + connections(madeBy: id)
    let charged = capabilities.quotas.account(of: id)?.used.frames
    let status = domain.shell.start.address.value + UInt64(EXO_STATUS_OFFSET)
    let published = memory.load(PhysicalAddress(status + 8))
    if owned != domain.framesHeld || charged != UInt64(owned) || published != UInt64(owned) {
      wrong.append(
        "\(id) owns \(owned) frames, counted \(domain.framesHeld), charged \(charged ?? 0), told \(published)"
      )
    }
    if domain.framesPeak < domain.framesHeld { wrong.append("\(id): its peak is below what it holds") }

    var runs: Set<UInt64> = []
    for (_, authority) in capabilities.entries(of: id) {
      guard case .frames(let run) = authority.resource,
        capabilities.owner(of: authority.resource) == id
      else { continue }
      runs.insert(UInt64(run.first) | UInt64(run.count) << 32)
    }
    let list = domain.shell.frameList.address.value
    let head = memory.load(PhysicalAddress(list))
    let told = Set((0..<min(head & 0xffff_ffff, 511)).map { memory.load(PhysicalAddress(list + 8 + $0 * 8)) })
    let isTruncated = head >> 32 == 1
    if told.count != Int(head & 0xffff_ffff) || !told.isSubset(of: runs) || isTruncated != (runs.count > 511)
      || !isTruncated && told != runs
    {
      wrong.append("\(id) owns \(runs.count) runs of frames and is told of \(head & 0xffff_ffff)")
    }
  }

  /// A page is pinned once for each stack over it and for the environment's own wish; a frame for each pin of its pages.
  private func checkPins(_ records: [FrameTable.Record], _ wrong: inout [String]) {
    var pins: [Frame: Int] = [:]
    for (id, domain) in domains {
      var wishes: [GuestAddress: Int] = [:]
      for page in domain.exceptionStacks.values.flatMap(\.pushed) + Array(domain.guarantees) {
        wishes[page, default: 0] += 1
      }
      if let binding = domain.eventBinding {
        for page in ExceptionStack(top: binding.stackTop).pushed { wishes[page, default: 0] += 1 }
      }
      if let predicate = domain.predicate { wishes[predicate.page, default: 0] += 1 }
      for ring in domain.packetRings.values {
        for page in 0..<ring.count { wishes[ring.address.advanced(byPages: page), default: 0] += 1 }
      }
      if wishes != domain.pinned { wrong.append("\(id): pinned are \(domain.pinned), should be \(wishes)") }
      for (page, count) in domain.pinned {
        let entry = domain.shell.space.entry(of: page, in: memory)
        guard entry.isMapped, let frame = frame(at: entry.address), frames.owner(of: frame) == id else {
          wrong.append("\(id): pinned page \(page) is not its own")
          continue
        }
        pins[frame, default: 0] += count
      }
      let bound = domain.exceptionStacks.values.reduce(
        domain.guarantees.count + (domain.eventBinding == nil ? 0 : 1)
      ) { $0 + $1.vectors.count }
      let owned =
        capabilities.roots.keys.count {
          switch $0 {
          case .region, .gate: capabilities.owner(of: $0) == id
          case .filter(let number), .transmit(let number):
            capabilities.owner(of: $0) == id
              && network.withState { $0.authorities[number]?.isCharged ?? false }
          default: false
          }
        } + connections(madeBy: id) + (domain.entry == nil ? 0 : 1) + (domain.predicate == nil ? 0 : 1)
        + domain.packetRings.count
      let charged = capabilities.quotas.account(of: id)?.used.bindings
      if charged != UInt64(bound + owned) {
        wrong.append("\(id) has \(bound + owned) bindings and is charged for \(charged ?? 0)")
      }
    }
    for number in 0..<records.count where records[number].pins > 0 || pins[Frame(UInt32(number))] != nil {
      let expected = pins[Frame(UInt32(number))] ?? 0
      if records[number].pins != expected {
        wrong.append("frame \(number) has \(records[number].pins) pins, should have \(expected)")
      }
    }
    for number in regions.keys where capabilities.roots[.region(number)] == nil {
      wrong.append("region \(number) belongs to nobody")
    }
  }
}

// --- slices

extension Kernel {
  /// A slot of a slice vector has the owner of the first capability to it, or none.
  fileprivate func checkSlices(_ wrong: inout [String]) {
    var owners = sliceOwners.map { $0.map { _ in EnvironmentID?.none } }
    for resource in capabilities.roots.keys {
      guard case .slices(let processor, let run) = resource else { continue }
      for slot in run.first..<run.end {
        owners[Int(processor)][Int(slot)] = capabilities.owner(of: resource)
      }
    }
    if owners != sliceOwners { wrong.append("slices belong to \(sliceOwners), should to \(owners)") }
  }
}

// --- page tables

extension Kernel {
  /// Every word of every table of a shell, the nucleus's half too.
  fileprivate func checkTables(
    of shell: Shell, belongingTo id: EnvironmentID?, _ wrong: inout [String],
    _ body: (FrameTable.Mapping, Frame) -> Void
  ) {
    let name = id.map { "\($0)" } ?? "idle shell \(shell.space.root)"
    var unseen = Set(shell.space.tables)
    unseen.remove(shell.space.root)
    var fixed = fixedEntries(of: shell, id)
    // Where the nucleus has its scratch page, the links to it let ring 3 through.
    let opened: Set<UInt64> =
      mechanisms.kind == .native
      ? Set([39, 30, 21].map { (bits: UInt64) in exo_nucleus_scratch & ~(1 << bits - 1) }) : []
    var problems: [String] = []

    func visit(_ table: Frame, level: Int, base: UInt64) {
      memory.forEachWord(of: table) { index, word in
        var address = base + UInt64(index) << UInt64(12 + 9 * level)
        if level == 3, index >= 256 { address |= 0xffff << 48 }
        func report(_ problem: String) {
          problems.append(
            "\(name), level \(level) at \(hexadecimal(address)): \(problem): \(hexadecimal(word))")
        }
        if level == 3, index == Int(EXO_KIT_TABLES_SLOT) {
          let own =
            table.address.value | PageTableEntry.present | PageTableEntry.user | PageTableEntry.noExecute
          if word & ~PageTableEntry.accessed != own { report("not the window on the tables") }
        } else if level == 3, index == Int(EXO_NUCLEUS_TABLES_SLOT), mechanisms.kind == .native {
          let own =
            table.address.value | PageTableEntry.present | PageTableEntry.writable
            | PageTableEntry.noExecute
          if word & ~PageTableEntry.accessed != own { report("not the nucleus's window on the tables") }
        } else if level == 1, PageTableEntry(bits: word).isHuge {
          let entry = PageTableEntry(bits: word)
          let isAligned = entry.address.value % UInt64(AddressSpace.hugePages << 12) == 0
          guard isAligned else { return report("a huge page that is not aligned") }
          for page in 0..<AddressSpace.hugePages {
            check(entry.small(page), at: GuestAddress(address + UInt64(page) << 12), report)
          }
        } else if level > 0 {
          let isOpen = address < UInt64(EXO_USER_LIMIT) || opened.contains(address)
          let bits = PageTableEntry(table: PhysicalAddress(0), user: isOpen).bits
          // A store through the nucleus's window marks the link it went by dirty.
          let ignored = PageTableEntry.addressMask | PageTableEntry.accessed | PageTableEntry.dirty
          guard word & ~ignored == bits,
            let next = frame(at: PageTableEntry(bits: word).address), unseen.remove(next) != nil
          else { return report("no link to a table of its own") }
          visit(next, level: level - 1, base: address)
        } else if let expected = fixed.removeValue(forKey: address) {
          if word & ~(PageTableEntry.accessed | PageTableEntry.dirty) != expected.bits {
            report("not \(hexadecimal(expected.bits))")
          }
        } else {
          check(PageTableEntry(bits: word), at: GuestAddress(address), report)
        }
      }
    }
    func check(_ entry: PageTableEntry, at address: GuestAddress, _ report: (String) -> Void) {
      if let wrong = whatIsWrong(with: entry, at: address, in: id) {
        report(wrong)
      } else if let id, let frame = frame(at: entry.address) {
        body(.init(environment: id, address: address), frame)
      }
    }
    visit(shell.space.root, level: 3, base: 0)
    wrong += problems
    // KVM may follow these to what they linked to before.
    for slot in shell.tainted where memory.load(slot) != 0 {
      wrong.append("\(name): the entry at \(slot) is used before KVM has forgotten it")
    }
    if !unseen.isEmpty { wrong.append("\(name): tables that nothing links to: \(unseen)") }
    if !fixed.isEmpty {
      wrong.append("\(name): kit or nucleus pages are missing: \(fixed.keys.map(hexadecimal))")
    }
  }

  /// The pages that every environment has, accessed and dirty bits aside.
  private func fixedEntries(of shell: Shell, _ id: EnvironmentID?) -> [UInt64: PageTableEntry] {
    var fixed: [UInt64: PageTableEntry] = [:]
    func kit(_ address: UInt64, _ physical: PhysicalAddress, isWritable: Bool) {
      fixed[address] = PageTableEntry(
        bits: physical.value | PageTableEntry.present | PageTableEntry.user | PageTableEntry.noExecute
          | PageTableEntry.pinned | (isWritable ? PageTableEntry.writable : 0))
    }
    kit(exo_kit_start, shell.start.address, isWritable: false)
    kit(exo_kit_machine, machinePage.address, isWritable: false)
    kit(exo_kit_submission, shell.submission.address, isWritable: true)
    kit(exo_kit_completion, shell.completion.address, isWritable: false)
    kit(exo_kit_trap, shell.trap.address, isWritable: true)
    kit(exo_kit_doorbell, Self.doorbell, isWritable: true)
    kit(exo_kit_frames, shell.frameList.address, isWritable: false)
    kit(exo_kit_events, shell.events.address, isWritable: false)
    let known: [Int: UInt32] = id.flatMap { domains[$0]?.connections } ?? [:]
    for (number, key) in known {
      guard let connection = connections[key] else { continue }
      kit(exo_kit_lines + UInt64(number) << 12, connection.lines.address, isWritable: true)
    }
    for (address, frame, isCode) in [
      (exo_nucleus_text, nucleusText, true), (exo_nucleus_data, shell.tables.data, false),
      (exo_nucleus_idt, shell.tables.idt, false), (exo_nucleus_transfer, shell.transfer.frame, false),
    ] {
      fixed[address] = PageTableEntry(
        bits: frame.address.value | PageTableEntry.present | (isCode ? 0 : PageTableEntry.noExecute)
          | (address == exo_nucleus_transfer ? PageTableEntry.writable : 0))
    }
    if mechanisms.kind == .native {
      fixed[exo_nucleus_scratch] = NativeRing0.scratchEntry(shell.trap)
      fixed[exo_nucleus_stacks] = NativeRing0.stackEntry(shell.trap)
    }
    return fixed
  }

  /// Why an environment may not have this entry at this address; nil if it may.
  private func whatIsWrong(
    with entry: PageTableEntry, at address: GuestAddress, in id: EnvironmentID?
  ) -> String? {
    guard let id else { return "an entry in an idle shell" }
    guard address.value >= UInt64(EXO_USER_FLOOR), address.value < UInt64(EXO_USER_LIMIT) else {
      return "not the environment's half"
    }
    let arguments = exo_kit_arguments..<exo_kit_arguments + UInt64(EXO_KIT_ARGUMENT_PAGES) << 12
    if (exo_kit_start..<exo_kit_end).contains(address.value), !arguments.contains(address.value) {
      return "over the kit"
    }
    // Present, writable, user, accessed, dirty; granted rights; pinned; the frame; a key, where there are any; no execution.
    let allowed =
      0x67 | PageTableEntry.grantedMask | PageTableEntry.pinned | PageTableEntry.addressMask
      | PageTableEntry.noExecute | (keys == .on ? PageTableEntry.keyMask : 0)
    if entry.bits & ~allowed != 0 { return "bits that no entry has" }
    if entry.bits & PageTableEntry.user == 0 { return "a page of the nucleus" }
    if !entry.isPresent, entry.bits & PageTableEntry.writable != 0 { return "writable and absent" }
    if entry.granted.isEmpty { return "bound with no rights" }
    if !entry.rights.isSubset(of: entry.granted) { return "\(entry.rights) of \(entry.granted) granted" }
    guard let frame = frame(at: entry.address) else { return "no memory is there" }
    let kind = frames.kind(of: frame)
    if kind != .data { return "\(frame) is \(kind)" }
    if !capabilities.holdsFrame(frame, entry.granted, in: id) { return "no capability to \(frame)" }
    if entry.isPinned != (domains[id]?.pinned[address] != nil) {
      return entry.isPinned ? "pinned for nothing" : "not pinned though it should be"
    }
    return nil
  }
}

extension ExceptionStack {
  /// The pages that a delivery may write to, worked out anew.
  var pushed: [GuestAddress] {
    let low = (top.value - UInt64(EXO_EXCEPTION_PUSH)) & ~0xfff
    return stride(from: low, to: top.value, by: 4096).map { GuestAddress($0) }
  }
}
