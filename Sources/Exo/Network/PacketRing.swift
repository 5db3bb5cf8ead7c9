import ExoABI
import Synchronization

/// The exokernel's end of a packet ring, which lies in an environment's own memory (`struct exo_packet_ring`).
///
///     exokernel                                   environment
///     fill buffer and receive[n % slots]
///     store arrived = n + 1, release  --------->  read them; store taken = n + 1
///     read transmit[n % slots], copy  <---------  fill them; store submitted = n + 1; `packet_send`
///     store completed = n + 1, release ------->   may use the slot again
///
/// Invariants: the frames are the environment's and guaranteed while the ring is bound; how far each side has come is private,
/// and what the environment says of itself is believed only between what it said before and what is possible; a length is
/// read once. Buffers have fixed places, so that there are no addresses to lie about.
struct PacketRing {
  let owner: EnvironmentID
  /// Among its owner's rings.
  let number: Int
  let slots: UInt32
  /// The head, buffers of what comes, buffers of what goes.
  private let frames: [Frame]

  private var arrived: UInt32 = 0
  private var taken: UInt32 = 0
  private var completed: UInt32 = 0
  private var dropped: UInt32 = 0
  /// What it may send, by the owner's capability that says so.
  var templates: [(handle: CapabilityHandle, filters: [Filter])] = []

  static let size = Int(EXO_PACKET_SIZE)
  /// An Ethernet header.
  static let leastLength = 14
  static let templateLimit = 16
  /// Pages of a ring with so many slots each way.
  static func pages(slots: Int) -> Int { 1 + slots }

  /// - Precondition: as many frames as `pages` says.
  init(owner: EnvironmentID, number: Int, slots: Int, frames: [Frame]) {
    self.owner = owner
    self.number = number
    self.slots = UInt32(slots)
    self.frames = frames
  }

  // --- places

  private func word(_ offset: Int) -> PhysicalAddress {
    PhysicalAddress(frames[0].address.value + UInt64(offset))
  }
  private static let receive = 128
  private static let transmit = receive + Int(EXO_PACKET_SLOTS) * 8
  private func descriptor(_ base: Int, _ count: UInt32) -> PhysicalAddress {
    word(base + Int(count % slots) * 8)
  }
  private func buffer(_ count: UInt32, sending: Bool) -> PhysicalAddress {
    let half = Int(count % slots) + (sending ? Int(slots) : 0)
    return PhysicalAddress(frames[1 + half / 2].address.value + UInt64(half % 2 * Self.size))
  }

  // --- to the environment

  /// Copies a packet in. False, and counted, if there is no room.
  mutating func deliver(_ packet: ArraySlice<UInt8>, of filter: UInt32, in memory: PhysicalMemory) -> Bool {
    let said = memory.load32(word(0))
    if said &- taken <= arrived &- taken { taken = said }
    guard arrived &- taken < slots, packet.count <= Self.size else {
      dropped &+= 1
      memory.store32(dropped, word(72))
      return false
    }
    memory.write(packet, at: buffer(arrived, sending: false))
    memory.store(
      UInt64(UInt32(packet.count)) | UInt64(filter) << 32, descriptor(Self.receive, arrived))
    arrived &+= 1
    memory.store32(arrived, word(64))
    return true
  }

  /// Whether the environment wants to be told of what has come; asked once for each wish.
  mutating func takeWish(in memory: PhysicalMemory) -> Bool {
    // It stores its wish, then looks for packets; we store that one has come, then look for a wish.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard memory.load32(word(8)) != 0 else { return false }
    memory.store32(0, word(8))
    return true
  }

  // --- from the environment

  /// How many packets it has handed over.
  func pending(in memory: PhysicalMemory) -> UInt32 {
    let count = memory.load32(word(4)) &- completed
    return count <= slots ? count : 0
  }

  /// Copies the next packet out; it cannot change any more. False if its length is none.
  func copyNext(to bytes: inout [UInt8], in memory: PhysicalMemory) -> Bool {
    let length = Int(memory.load(descriptor(Self.transmit, completed)) & 0xffff_ffff)
    guard length >= Self.leastLength, length <= Self.size else { return false }
    memory.appendBytes(buffer(completed, sending: true), count: length, to: &bytes)
    return true
  }

  /// Whether what it may send includes this packet.
  func allows(_ packet: Span<UInt8>) -> Bool {
    templates.contains { $0.filters.contains { $0.matches(packet) } }
  }

  /// Says what became of the packet, and goes on to the next.
  mutating func complete(_ status: Int32, in memory: PhysicalMemory) {
    let at = descriptor(Self.transmit, completed)
    memory.store32(UInt32(status), PhysicalAddress(at.value + 4))
    completed &+= 1
  }
  /// Lets the environment see how far that went.
  func publishCompleted(in memory: PhysicalMemory) { memory.store32(completed, word(68)) }
}
