/// One environment's table: which capability each of its handles names.
///
/// A free slot keeps the generation it will be issued with next, always above every generation issued so far; so a
/// handle is current, stale or forged by one comparison. A slot whose generations are used up is never reused.
struct CapabilityTable {
  private struct Slot {
    var generation: UInt32
    /// The capability, or `.none` while the slot is free.
    var node: CapabilityNode.ID
    /// The next free slot, while this one is free.
    var nextFree: UInt32
  }

  private static let noSlot = UInt32.max
  private let firstGeneration: UInt32
  private var slots: [Slot] = []
  private var firstFree = noSlot
  private(set) var count = 0
  /// The root of the index of the frames that this environment's capabilities cover.
  var frames = FrameIndex.ID.none

  /// - Parameter firstGeneration: of a new slot, from 1; tests begin near the end.
  init(firstGeneration: UInt32 = 1) { self.firstGeneration = firstGeneration }

  mutating func insert(_ node: CapabilityNode.ID) -> CapabilityHandle {
    count += 1
    guard firstFree != Self.noSlot else {
      slots.append(Slot(generation: firstGeneration, node: node, nextFree: Self.noSlot))
      return CapabilityHandle(index: UInt32(slots.count - 1), generation: firstGeneration)
    }
    let index = firstFree
    firstFree = slots[Int(index)].nextFree
    slots[Int(index)].node = node
    return CapabilityHandle(index: index, generation: slots[Int(index)].generation)
  }

  mutating func remove(_ handle: CapabilityHandle) {
    let index = Int(handle.index)
    count -= 1
    slots[index].node = .none
    guard handle.generation < UInt32.max else { return }
    slots[index].generation = handle.generation + 1
    slots[index].nextFree = firstFree
    firstFree = handle.index
  }

  func resolve(_ handle: CapabilityHandle) throws(CapabilityError) -> CapabilityNode.ID {
    guard handle.index < UInt32(slots.count), handle.generation > 0 else { throw .badHandle(handle) }
    let slot = slots[Int(handle.index)]
    if handle.generation < slot.generation { throw .stale(handle, current: slot.generation) }
    if handle.generation > slot.generation { throw .badHandle(handle) }
    // A retired slot is empty at the generation it was last issued with.
    guard slot.node != .none else {
      throw slot.generation == UInt32.max ? .stale(handle, current: slot.generation) : .badHandle(handle)
    }
    return slot.node
  }

  /// The first capability at an index of at least `index`. A walk with it looks at each slot once.
  func first(from index: Int) -> CapabilityNode.ID? {
    guard index < slots.count else { return nil }
    return slots[index...].first { $0.node != .none }?.node
  }

  /// The capabilities, by index.
  var nodes: some Sequence<CapabilityNode.ID> { slots.lazy.map(\.node).filter { $0 != .none } }
}
