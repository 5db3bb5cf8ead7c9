import ExoABI

/// The page from which the nucleus takes where a connection of an environment leads. It lies at one linear address in every address
/// space, for the supervisor only:
///
///     slot n   root table of the peer | number of the connection there | what it is to the peer
///     alone    the slot of the only connection again, for the shorter way that an environment with one has (`Stub`)
///     frame    RIP, CS, RFLAGS, RSP, SS: where this environment left by its last transfer, or its entry
///
/// `int $4` pushes the frame, on an interrupt stack that ends where it does. The nucleus loads a slot into RAX and CR3 and returns
/// through the frame, which by then is the peer's. So:
///
/// - a slot leads either to the connection's other end, or back to the environment itself, and says that the transfer was refused;
/// - a slot changes only while no vCPU that could be between those instructions is in guest mode (`ExecutionLatch`);
/// - a frame is what the hardware pushed or what `reset` wrote, and nothing else writes to this page;
/// - RAX is what the receiver learns from nobody but the exokernel: who comes, and why. It is in bits of CR3 that processors
///   without process-context identifiers take no notice of (AMD APM volume 2, 5.3.2; Intel SDM volume 3, 4.5: bits 0 to 2 and
///   5 to 11).
struct TransferPage: Sendable {
  let frame: Frame

  /// Connections are numbered below this.
  static let connections = Int(EXO_CONNECTIONS) - 1

  /// How an environment is entered.
  enum Kind: UInt64, Sendable {
    case called, returned, refused, ended, timedOut, stopped

    /// What RSP holds at the entry of one that is told so by the exokernel itself.
    var mark: UInt64 { rawValue << UInt64(EXO_TRANSFER_TOLD_SHIFT) }
  }

  /// What RAX is for the receiver, and what CR3 becomes.
  static func badge(_ kind: Kind, _ number: Int, at root: PhysicalAddress) -> UInt64 {
    root.value | UInt64(number) << UInt64(EXO_TRANSFER_NUMBER_SHIFT) | kind.rawValue
  }

  /// By which instructions of the nucleus an environment leaves.
  enum Stub: Hashable, Sendable {
    /// RAX says by which connection.
    case selecting
    /// The same, and PKRU becomes 0.
    case forgettingKeys
    /// By its only connection, whatever RAX says: an instruction less.
    case alone(Int)

    /// Where the gate leads, within the nucleus's text.
    var offset: Int32 {
      switch self {
      case .selecting: EXO_NUCLEUS_TRANSFER_STUB
      case .forgettingKeys: EXO_NUCLEUS_TRANSFER_KEYS_STUB
      case .alone: EXO_NUCLEUS_TRANSFER_ALONE_STUB
      }
    }
  }

  private func slot(_ number: Int) -> PhysicalAddress {
    PhysicalAddress(frame.address.value + UInt64(number) * UInt64(EXO_TRANSFER_SLOT_SIZE))
  }
  private func word(_ index: Int) -> PhysicalAddress {
    let start = UInt64(EXO_TRANSFER_FRAME_TOP - EXO_TRANSFER_FRAME_SIZE)
    return PhysicalAddress(frame.address.value &+ start &+ UInt64(bitPattern: Int64(index * 8)))
  }

  /// Every slot refuses.
  func initialize(root: PhysicalAddress, entry: GuestAddress, in memory: PhysicalMemory) {
    reset(to: entry, in: memory)
    for number in 0...Self.connections { refuse(number, root: root, in: memory) }
  }

  /// Whoever comes in next does so at the entry.
  ///
  /// Whoever leaves meanwhile finds words of both: each of them is one by which ring 3 may be entered.
  func reset(to entry: GuestAddress, stack: GuestAddress = GuestAddress(0), in memory: PhysicalMemory) {
    let frame = [entry.value, UInt64(EXO_USER_CS), 0x202, stack.value, UInt64(EXO_USER_SS)]
    for (index, value) in frame.enumerated() {
      memory.store(value, word(index))
    }
  }

  /// A connection leads to its peer, where it has a number.
  func lead(_ number: Int, to root: PhysicalAddress, as kind: Kind, _ other: Int, in memory: PhysicalMemory) {
    memory.store(Self.badge(kind, other, at: root), slot(number))
  }
  /// A connection leads back to this environment, whose root table is given.
  func refuse(_ number: Int, root: PhysicalAddress, in memory: PhysicalMemory) {
    lead(number, to: root, as: .refused, number, in: memory)
  }

  /// What the nucleus loads for the value of RAX.
  func load(_ rax: UInt64, in memory: PhysicalMemory) -> UInt64 {
    let mask = UInt64((EXO_CONNECTIONS - 1) * EXO_TRANSFER_SLOT_SIZE)
    return memory.load(slot(Int(rax & mask) / Int(EXO_TRANSFER_SLOT_SIZE)))
  }
  /// The only connection there is leads where its slot does.
  func leadAlone(_ number: Int, in memory: PhysicalMemory) {
    memory.store(memory.load(slot(number)), slot(Self.alone))
  }
  /// What the nucleus loads for the only connection.
  func loadAlone(in memory: PhysicalMemory) -> UInt64 { memory.load(slot(Self.alone)) }
  private static let alone = Int(EXO_TRANSFER_ALONE_OFFSET / EXO_TRANSFER_SLOT_SIZE)
  /// For the invariant checker: where a slot leads.
  func badge(_ number: Int, in memory: PhysicalMemory) -> UInt64 { memory.load(slot(number)) }
  /// The five words that this environment is entered by.
  func words(in memory: PhysicalMemory) -> [UInt64] { (0..<5).map { memory.load(word($0)) } }
  /// What the nucleus has pushed below them.
  func pushed(_ count: Int, in memory: PhysicalMemory) -> UInt64 { memory.load(word(-count)) }
}
