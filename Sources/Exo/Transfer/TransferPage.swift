import ExoABI

/// The page from which the nucleus takes where a connection of an environment leads. It lies at one linear address in every address
/// space, supervisor-only and never writable there:
///
///     slot n    root table of the peer | address of the frame that is returned through
///     frame n   RIP, CS, RFLAGS, RSP, SS: how this environment is entered by the peer of its connection n
///
/// The nucleus loads both words of a slot, then the root table, then returns through the frame, which by then is the peer's. So:
///
/// - a slot leads either to a frame of the connection's other end, or back to the environment's own last frame, which says that
///   the transfer was refused;
/// - a slot or frame changes only while no vCPU that could be between those instructions is in guest mode (`ExecutionLatch`);
/// - RSP of a frame is no stack but what the receiver learns from nobody but the exokernel: who comes, and why.
struct TransferPage: Sendable {
  let frame: Frame

  /// Connections are numbered below this; the last slot and frame are for refusals.
  static let connections = Int(EXO_CONNECTIONS) - 1

  /// How an environment is entered.
  enum Kind: UInt64, Sendable {
    case called, returned, refused, ended, timedOut, stopped

    func badge(gate: UInt32 = 0, number: Int = 0) -> UInt64 {
      rawValue << UInt64(EXO_TRANSFER_KIND_SHIFT) | UInt64(gate) << 8 | UInt64(number)
    }
  }

  private func slot(_ number: Int) -> PhysicalAddress {
    PhysicalAddress(frame.address.value + UInt64(number) * UInt64(EXO_TRANSFER_SLOT_SIZE))
  }
  private func returnFrame(_ number: Int) -> PhysicalAddress {
    PhysicalAddress(frame.address.value + UInt64(Self.frameOffset(number)))
  }
  private static func frameOffset(_ number: Int) -> Int {
    Int(EXO_TRANSFER_FRAMES) + number * Int(EXO_TRANSFER_FRAME_SIZE)
  }

  /// Every slot refuses.
  func initialize(root: PhysicalAddress, entry: GuestAddress, in memory: PhysicalMemory) {
    setFrame(Self.connections, entry: entry, badge: Kind.refused.badge(), in: memory)
    for number in 0...Self.connections { refuse(number, root: root, in: memory) }
  }

  /// How the peer of a connection enters this environment.
  func setFrame(_ number: Int, entry: GuestAddress, badge: UInt64, in memory: PhysicalMemory) {
    let words = [entry.value, UInt64(EXO_USER_CS), 0x202, badge, UInt64(EXO_USER_SS)]
    for (i, word) in words.enumerated() {
      memory.store(word, PhysicalAddress(returnFrame(number).value + UInt64(i) * 8))
    }
  }
  /// Has all frames lead to another entry.
  func setEntry(_ entry: GuestAddress, in memory: PhysicalMemory) {
    for number in 0...Self.connections { memory.store(entry.value, returnFrame(number)) }
  }

  /// A connection leads to a frame of its peer.
  func lead(_ number: Int, to root: PhysicalAddress, frame: Int, in memory: PhysicalMemory) {
    memory.store(root.value, slot(number))
    memory.store(
      exo_nucleus_transfer + UInt64(Self.frameOffset(frame)), PhysicalAddress(slot(number).value + 8))
  }
  /// A connection leads back to this environment, whose root table is given.
  func refuse(_ number: Int, root: PhysicalAddress, in memory: PhysicalMemory) {
    lead(number, to: root, frame: Self.connections, in: memory)
  }

  /// What the nucleus loads for the value of RAX: the address of a frame, and a root table.
  func load(_ rax: UInt64, in memory: PhysicalMemory) -> (frame: UInt64, root: UInt64) {
    let slot = slot(
      Int(rax & UInt64((EXO_CONNECTIONS - 1) * EXO_TRANSFER_SLOT_SIZE)) / Int(EXO_TRANSFER_SLOT_SIZE))
    return (memory.load(PhysicalAddress(slot.value + 8)), memory.load(slot))
  }
  /// The frame at one of its linear addresses.
  func words(at address: UInt64, in memory: PhysicalMemory) -> [UInt64] {
    let offset = (address &- exo_nucleus_transfer) & 0xff8
    return (0..<5).map {
      memory.load(PhysicalAddress(frame.address.value + min(offset + UInt64($0) * 8, 0xff8)))
    }
  }

  /// For the invariant checker: where a slot leads, and what a frame says.
  func leads(_ number: Int, in memory: PhysicalMemory) -> (root: UInt64, frame: Int) {
    let address = memory.load(PhysicalAddress(slot(number).value + 8))
    let offset = Int(clamping: address &- exo_nucleus_transfer) - Int(EXO_TRANSFER_FRAMES)
    let size = Int(EXO_TRANSFER_FRAME_SIZE)
    return (memory.load(slot(number)), offset >= 0 && offset % size == 0 ? offset / size : -1)
  }
  func words(ofFrame number: Int, in memory: PhysicalMemory) -> [UInt64] {
    (0..<5).map { memory.load(PhysicalAddress(returnFrame(number).value + UInt64($0) * 8)) }
  }
}
