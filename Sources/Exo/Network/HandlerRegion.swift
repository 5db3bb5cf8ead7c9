import ExoABI

/// Memory of an environment's own that its handler reads and writes as packets come: state, and what it keeps of them, without
/// the environment being scheduled.
///
/// It is named by a capability with the rights to read and write, not by where it is mapped, and nothing is pinned for it. While
/// the capability is there, the frames are what it says; when it goes, in whatever way, the handler goes with it, under the
/// network's lock, under which handlers run (`Kernel.breakHandlers`). Only then can the frames be given to anybody else.
struct HandlerRegion {
  let memory: PhysicalMemory
  let start: PhysicalAddress
  /// Whole pages, in bytes.
  let size: Int
  /// Of its owner's; what it stands on.
  let handle: CapabilityHandle

  static let pageLimit = Int(EXO_HANDLER_REGION_PAGES)

  // Its owner may write at the same time: a number is one access, and nothing is believed that is read.
  private func address(_ offset: Int) -> PhysicalAddress { PhysicalAddress(start.value + UInt64(offset)) }
  func load(_ offset: Int, width: Int) -> UInt64 {
    width == 4 ? UInt64(memory.load32(address(offset))) : memory.load(address(offset))
  }
  func store(_ value: UInt64, _ offset: Int, width: Int) {
    if width == 4 {
      memory.store32(UInt32(truncatingIfNeeded: value), address(offset))
    } else {
      memory.store(value, address(offset))
    }
  }
  func write(_ bytes: [UInt8], at offset: Int) { memory.write(bytes[...], at: address(offset)) }
  /// Where compiled code finds it.
  var hostAddress: UInt64 { memory.hostAddress(start, count: size) }
}
