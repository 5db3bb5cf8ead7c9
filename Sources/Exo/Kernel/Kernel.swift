import ExoABI

/// Everything about authority and memory, behind the machine's one lock (`Machine.kernel`). It knows frames,
/// address spaces, bindings and who holds what; it runs nothing.
///
/// Lock order: an environment's ring, then the kernel, then the network, a console or a processor's queue.
struct Kernel: ~Copyable {
  let memory: PhysicalMemory
  let translations: Translations
  /// Claims, packet rings and the switch between them: behind a lock of its own, which comes after this one.
  let network: Network
  /// Where what is seen here is recorded; the machine's, or one that nobody reads.
  let trace: Trace
  /// How this kind of machine is dealt with.
  private(set) var mechanisms: any SubstrateMechanisms
  /// What this machine has of protection keys (`Kernel+Keys`).
  var keys: ProtectionKeys
  var frames: FrameTable
  /// Who holds what, and who may consume how much.
  var capabilities = CapabilitySpace()
  /// What is bound for each environment that lives.
  var domains: [EnvironmentID: Domain] = [:]
  /// Address spaces of environments that ended, for the next ones: see `Shell`.
  var shells: [Shell] = []
  /// Those in which translations to their environments' frames may be left. No vCPU is in them, so that nobody sees the frames,
  /// whoever has them now; but a shell has to be rid of them before it serves again. To see to several at once costs little more
  /// than to see to one: they have mostly seen the same frames, one after another.
  var resting: [Shell] = []
  /// With how many of them they are all made ready.
  var restingLimit = Shell.restingLimit
  /// Those that are not kept.
  var surplus: [Shell] = []
  /// Frames nobody owns and some vCPU may still see.
  var retired: [Frame] = []
  /// Environments that may still see frames that are unbound (`Kernel+Lingering`).
  var lingerers: Set<EnvironmentID> = []
  /// First frames of huge pages to which KVM may still follow an entry that does not give them any more, or not so much
  /// of them (`Kernel+HugePages`).
  var hugeTaint: Set<Frame> = []
  /// It must not go on doing so when the call that is being carried out returns.
  var mustForgetTables = false
  private var lastEnvironment: UInt32 = 0

  /// The frame with the ring-0 stubs, and the one that all environments may read.
  let nucleusText: Frame
  let machinePage: Frame

  /// Throws if the memory is too small for even that.
  init(memory: PhysicalMemory, hardware: Hardware? = nil, trace: Trace = Trace(processors: 0))
    throws(MachineError)
  {
    var frames = FrameTable(count: memory.frameCount)
    guard let fixed = frames.allocate(upTo: 2, kind: .nucleus, owner: EnvironmentID(0)), fixed.count == 2
    else { throw .badMemorySize(bytes: memory.size, limit: Machine.memoryLimit) }
    self.memory = memory
    self.trace = trace
    network = Network(memory: memory)
    translations = Translations(memory: memory, hardware: hardware)
    mechanisms = hardware?.mechanisms ?? InterpretedRing0()
    keys = hardware?.offersKeys ?? false ? .off : .absent
    self.frames = frames
    nucleusText = fixed.first
    machinePage = fixed.first.advanced(by: 1)
    NucleusText.write(to: nucleusText, in: memory)
    publishFreeCount()
  }

  /// Brings what was made for another kind of machine up to this one. None of it has run.
  mutating func adopt(_ new: any SubstrateMechanisms) {
    guard new.kind != mechanisms.kind else { return }
    mechanisms = new
    keys = translations.hardware?.offersKeys ?? false ? .off : .absent
    for shell in idleShells + domains.values.map(\.shell) { equip(shell) }
    for domain in domains.values {
      guard let offset = MemoryLayout<exo_start>.offset(of: \exo_start.features) else { continue }
      let features = PhysicalAddress(domain.shell.start.address.value + UInt64(offset))
      memory.store(
        memory.load(features) | new.features
          | (keys == .absent ? 0 : UInt64(EXO_FEATURE_PROTECTION_KEYS)), features)
    }
  }

  /// What an address space needs on this kind of machine, with SYSCALL bound to nothing.
  func equip(_ shell: Shell) {
    mechanisms.equip(shell, in: memory)
    mechanisms.bindSystemCall(nil, in: shell.tables, memory)
  }

  /// An inconsistency of the exokernel's own making: kept for the invariant checker rather than hidden.
  private(set) var faults: [String] = []
  mutating func logFault(_ text: String) { faults.append(text) }

  /// Who owns each slot of each processor's slice vector.
  var sliceOwners: [[EnvironmentID?]] = []
  /// Slots that lost their owner; `Machine.withKernel` has their processors forget who ran in them.
  var freedSlices: [(processor: Int, slots: Range<Int>)] = []

  /// Software-defined regions, by number.
  var regions: [UInt32: Region] = [:]
  private var lastRegion: UInt32 = 0
  mutating func newRegionNumber() -> UInt32 {
    lastRegion += 1
    return lastRegion
  }

  /// Gates and connections, by number (`Transfer`).
  var gates: [UInt32: Gate] = [:]
  var connections: [UInt32: Connection] = [:]
  private var lastGate: UInt32 = 0
  private var lastConnection: UInt32 = 0
  mutating func newGateNumber() -> UInt32 {
    lastGate += 1
    return lastGate
  }
  mutating func newConnectionNumber() -> UInt32 {
    lastConnection += 1
    return lastConnection
  }
  /// Environments that have their first connection, and events that came of what was done: `Machine.withKernel` sees to them.
  var newlyConnected: [EnvironmentID] = []
  var signals: [(EnvironmentID, Event)] = []
  /// Requests to give something back that were met (`Revocation`), and whether something is being taken at this moment.
  var answers: [(Revocation.Asker, given: UInt64, taken: UInt64)] = []
  var isRepossessing = false

  /// Environments whose owner is gone; `Machine.withKernel` ends them.
  private var orphans: [EnvironmentID] = []
  mutating func addOrphan(_ id: EnvironmentID) { orphans.append(id) }

  /// What came of a call and is seen to once the kernel's lock has been let go of.
  struct Aftermath {
    var orphans: [(id: EnvironmentID, lives: Bool)]
    var freedSlices: [(processor: Int, slots: Range<Int>)]
    var newlyConnected: [EnvironmentID]
    var signals: [(EnvironmentID, Event)]
    var answers: [(Revocation.Asker, given: UInt64, taken: UInt64)]
  }
  /// Nil for most calls.
  mutating func takeAftermath() -> Aftermath? {
    guard
      !orphans.isEmpty || !freedSlices.isEmpty || !newlyConnected.isEmpty || !signals.isEmpty
        || !answers.isEmpty
    else { return nil }
    defer { (orphans, freedSlices, newlyConnected, signals, answers) = ([], [], [], [], []) }
    return Aftermath(
      orphans: orphans.map { ($0, domains[$0] != nil) }, freedSlices: freedSlices,
      newlyConnected: newlyConnected, signals: signals, answers: answers)
  }

  mutating func newEnvironmentID() -> EnvironmentID {
    lastEnvironment += 1
    return EnvironmentID(lastEnvironment)
  }

  // --- the page that every environment may read

  private func machineField(_ offset: Int) -> PhysicalAddress {
    PhysicalAddress(machinePage.address.value + UInt64(offset))
  }
  func publishFreeCount() {
    memory.store(UInt64(frames.freeCount), machineField(8))
  }
  func publishMachine(clock: ClockBase) {
    memory.write(
      exo_machine(
        frames_total: UInt64(frames.count), frames_free: UInt64(frames.freeCount), tsc_base: clock.tsc,
        clock_base: clock.nanoseconds, clock_multiplier: clock.multiplier,
        memory_base: PhysicalAddress.memoryBase),
      at: machinePage.address)
  }
}

/// What the exokernel has bound for one environment.
struct Domain {
  let id: EnvironmentID
  var shell: Shell
  /// Keeps its vCPU out of guest mode while a gate changes or a frame leaves.
  let latch: ExecutionLatch
  /// Frames it owns, and page tables made for it: both are charged to its quota.
  var framesHeld = 0
  var framesPeak = 0
  /// The runs of frames it owns, as its frame list shows them.
  var runs: [(first: UInt32, count: UInt32)] = []
  /// Frames that it may still see although they are unbound (`Kernel+Lingering`).
  var lingering: [Frame] = []
  /// Bound vectors by interrupt stack slot, and each slot's top.
  var exceptionStacks: [Int: ExceptionStack] = [:]
  var eventBinding: EventBinding?
  var predicate: Predicate?
  /// By their numbers here (`Kernel+Network`).
  var packetRings: [Int: PacketRingPages] = [:]
  /// What its handlers' regions stand on, or once stood on (`Kernel+Handlers`).
  var handlerRegions: Set<CapabilityHandle> = []
  /// The protected entry context, once bound, and connections by their numbers here.
  var entry: GuestAddress?
  /// Whether SYSCALL enters it, which excludes an entry: where it leads is the virtual processor's affair.
  var hasSystemCall = false
  /// How its maker enters it, if it is ready for that.
  var readiness: Readiness?
  /// By which stub it leaves, once it has an entry.
  var transferStub = TransferPage.Stub.selecting
  var connections: [Int: UInt32] = [:]
  /// Whether it gave a call up and has yet to hear of it: no answer is let in meanwhile.
  var returnsAreHeld = false
  /// What it is asked to give back, and how often something was taken from it.
  var revocation: Revocation?
  var repossessions: UInt32 = 0
  /// Number of its processor.
  var processor = 0
  /// Pages with a guaranteed mapping, and how many bindings ask for it.
  var pinned: [GuestAddress: Int] = [:]
  /// Those of them that the environment itself asked for.
  var guarantees: Set<GuestAddress> = []
}

/// An interrupt stack in use. Its frames are pinned while any vector is bound to it.
struct ExceptionStack {
  var top: GuestAddress
  /// The pages under the push range.
  var pages = GuestAddress(0)
  var pageCount = 0
  var vectors: Set<ExceptionVector> = []
}
