import ExoABI

/// What every environment has before it has anything of its own: page tables, the nucleus's data pages, and the
/// kit (start page, rings, trap page).
///
/// A shell is not taken apart: when its environment ends, the leaf entries outside the kit are cleared, and the
/// tables, with the links between them, serve the next environment. KVM's shadow pages follow a table's links, and
/// nothing short of dropping all of them makes it forget a link that the host changed; with links that never change
/// there is nothing to forget. It also makes a new environment cheap. Only shells that are too many, or have grown too
/// large, are given back, many at a time (`Kernel.dismantle`).
///
/// Its frames are charged to the environment that uses it.
struct Shell: Sendable {
  var space: AddressSpace
  let tables: NucleusTables
  let start: Frame
  let submission: Frame
  let completion: Frame
  let trap: Frame
  let frameList: Frame
  let events: Frame
  let transfer: TransferPage
  /// Second-level entries that held a huge page: KVM may still follow them to it (`Kernel+HugePages`).
  var tainted: Set<PhysicalAddress> = []
  /// Frames to which KVM may still have translations for this address space, made for an environment that has ended.
  var seen: [Frame] = []

  /// Root and nucleus pages, kit, and three tables for each half of the address space.
  static let framesNeeded = 16

  /// Every frame it is made of.
  var frames: [Frame] { space.tables + [tables.data, tables.idt, transfer.frame] + kitPages.map(\.frame) }
  var frameCount: Int { space.tables.count + 9 }

  /// How many are kept for the next environments, and how many tables one of those may have.
  static let keptLimit = 64
  /// With how many that rest (`Kernel.resting`) all of them are made ready.
  static let restingLimit = 8
  static let keptTables = 32

  /// The kit's pages and what the environment may do with them.
  var kitPages: [(address: UInt64, frame: Frame, rights: Rights)] {
    [
      (exo_kit_start, start, .read), (exo_kit_submission, submission, [.read, .write]),
      (exo_kit_completion, completion, .read), (exo_kit_trap, trap, [.read, .write]),
      (exo_kit_frames, frameList, .read), (exo_kit_events, events, .read),
    ]
  }
}

extension Kernel {
  /// Where the doorbell page lies: no memory is behind it.
  static var doorbell: PhysicalAddress { PhysicalAddress(0xd000_0000) }

  /// A clean shell, used before or new.
  mutating func takeShell() throws(Refusal) -> Shell {
    if shells.isEmpty, !resting.isEmpty, isShortOfFrames { settleShells() }
    guard let used = shells.last else {
      // Its frames were free, and free frames are clean.
      let shell = try makeShell()
      shell.tables.initialize(in: memory)
      equip(shell)
      return shell
    }
    // Its tables serve again only when nothing behind them can be remembered.
    if !used.tainted.isEmpty { forgetTables() }
    return shells.removeLast()
  }

  /// Makes a used shell as good as new.
  private func clean(_ shell: Shell) {
    shell.tables.initialize(in: memory)
    for frame in [
      shell.start, shell.submission, shell.completion, shell.trap, shell.frameList, shell.events,
      shell.transfer.frame,
    ] {
      memory.zero(frame)
    }
    equip(shell)
  }

  /// Takes back the shell of an environment whose vCPU has left guest mode for good and whose pages are cleared.
  mutating func giveBack(_ shell: Shell) {
    if shells.count + resting.count < Shell.keptLimit, shell.space.tables.count <= Shell.keptTables {
      // Now rather than when somebody waits for it.
      clean(shell)
      if shell.seen.isEmpty { shells.append(shell) } else { resting.append(shell) }
      if resting.count >= restingLimit { settleShells() }
      return
    }
    surplus.append(shell)
    if surplusFrames > frames.count / 32 { dismantle() }
  }
  var surplusFrames: Int { surplus.reduce(0) { $0 + $1.frameCount } }

  /// Those that no environment has.
  var idleShells: [Shell] { shells + resting + surplus }

  /// Whether shells that rest are to serve again before new ones are made, few as they are.
  private var isShortOfFrames: Bool {
    frames.freeCount < frames.count / 16 || resting.reduce(0) { $0 + $1.frameCount } > frames.count / 64
  }

  /// Has what was seen in shells that rest forgotten, all of it at once; they may serve again.
  private mutating func settleShells() {
    translationsOf(resting.flatMap(\.seen))
    for var shell in resting {
      shell.seen = []
      shells.append(shell)
    }
    resting = []
  }

  /// Gives the frames of surplus shells back to the machine. KVM is made to forget all its tables once for all of them;
  /// no vCPU runs on theirs.
  mutating func dismantle() {
    guard !surplus.isEmpty else { return }
    let freed = surplus.flatMap(\.frames)
    translationsOf(freed + surplus.flatMap(\.seen))
    surplus = []
    forgetTables()
    for frame in freed {
      memory.zero(frame)
      frames.release(frame)
    }
    publishFreeCount()
  }

  private mutating func makeShell() throws(Refusal) -> Shell {
    if frames.freeCount < Shell.framesNeeded { reclaim() }
    let nobody = EnvironmentID(0)
    var taken: [Frame] = []
    // Never seen by a vCPU, so no protocol; but free frames are clean.
    func give(back frames: inout FrameTable) {
      for frame in taken {
        memory.zero(frame)
        frames.release(frame)
      }
    }
    func one(_ kind: FrameTable.Kind) -> Frame? {
      guard let (frame, _) = frames.allocate(upTo: 1, kind: kind, owner: nobody) else { return nil }
      taken.append(frame)
      return frame
    }
    guard let root = one(.pageTable), let data = one(.nucleus), let idt = one(.nucleus),
      let start = one(.kit), let submission = one(.kit), let completion = one(.kit), let trap = one(.kit),
      let frameList = one(.kit), let events = one(.kit), let transfer = one(.nucleus)
    else {
      give(back: &frames)
      throw .noMemory
    }
    var shell = Shell(
      space: AddressSpace(root: root), tables: NucleusTables(data: data, idt: idt), start: start,
      submission: submission, completion: completion, trap: trap, frameList: frameList, events: events,
      transfer: TransferPage(frame: transfer))
    shell.space.exposeTables(in: memory)
    // A transfer pushes its frame to the last.
    let nucleus: [(UInt64, Frame, executable: Bool, writable: Bool)] = [
      (exo_nucleus_text, nucleusText, true, false), (exo_nucleus_data, data, false, false),
      (exo_nucleus_idt, idt, false, false), (exo_nucleus_transfer, transfer, false, true),
    ]
    var entries = nucleus.map {
      (
        GuestAddress($0.0),
        PageTableEntry(nucleus: $0.1.address, executable: $0.executable, writable: $0.writable)
      )
    }
    for page in shell.kitPages {
      entries.append(
        (GuestAddress(page.address), Self.kitEntry(page.frame.address, page.rights)))
    }
    entries.append((GuestAddress(exo_kit_machine), Self.kitEntry(machinePage.address, .read)))
    entries.append((GuestAddress(exo_kit_doorbell), Self.kitEntry(Self.doorbell, [.read, .write])))
    for (address, entry) in entries {
      guard
        let slot = shell.space.makeSlot(of: address, in: memory, newTable: { one(.pageTable) })
      else {
        give(back: &frames)
        throw .noMemory
      }
      memory.store(entry.bits, slot)
    }
    publishFreeCount()
    return shell
  }

  /// Kit pages are the exokernel's to bind: pinned, and with no grant an environment could restore.
  static func kitEntry(_ address: PhysicalAddress, _ rights: Rights) -> PageTableEntry {
    var entry = PageTableEntry(address, rights: rights, granted: [])
    entry.bits |= PageTableEntry.pinned
    return entry
  }
}
