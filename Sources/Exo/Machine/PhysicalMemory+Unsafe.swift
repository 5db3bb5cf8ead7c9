import CKVM
import Glibc
import Synchronization

/// The machine's memory: a sealed file mapped twice. KVM's slots sit behind one mapping, whose translations the
/// exokernel drops to take a page away; the exokernel's own accesses go through the other, which never changes.
///
/// Every access is checked against the size. Words that the hardware or another thread may write at the same
/// time are read and written atomically.
@safe final class PhysicalMemory: @unchecked Sendable {
  // Invariant: both mappings cover `size` bytes of `file` from construction to deinit; the pointers never change.
  private let file: Descriptor
  /// This process, which may have none.
  private let process: Descriptor
  private let slot: UnsafeMutableRawPointer
  private let alias: UnsafeMutableRawPointer
  let size: UInt64
  var frameCount: Int { Int(size >> 12) }

  init(size: UInt64) throws(HostError) {
    let file = Descriptor(try check("memfd_create", ckvm_memory_file("exo-memory", size)))
    var error: CInt = 0
    guard let slot = unsafe ckvm_map_shared(file.number, size, 2 << 20, &error) else {
      throw HostError("mmap of \(size) bytes", -error)
    }
    guard let alias = unsafe ckvm_map_shared(file.number, size, 2 << 20, &error) else {
      unsafe ckvm_unmap(slot, size)
      throw HostError("mmap of \(size) bytes", -error)
    }
    self.file = file
    process = Descriptor(ckvm_own_process())
    unsafe self.slot = slot
    unsafe self.alias = alias
    self.size = size
  }

  deinit {
    unsafe ckvm_unmap(slot, size)
    unsafe ckvm_unmap(alias, size)
  }

  // --- the slot that makes it the machine's memory

  private let slotFlags = Atomic<UInt32>(0)

  /// Makes this the memory of a virtual machine. Dirty pages are logged where KVM lets the log be cleared by hand, which
  /// is what makes write protection cheap (`writeProtect`). It costs nothing otherwise: a clean page's first write faults
  /// anyway, to set the dirty bit.
  func bindSlot(of vm: borrowing Descriptor) throws(HostError) {
    slotFlags.store(ckvm_enable_manual_dirty_log(vm.number) >= 0 ? 1 : 0, ordering: .relaxed)
    // Where KVM shadows page tables it keeps 2 % of the frames' number of them by itself, which in a small machine is enough for some twenty
    // environments: then it takes those of one away for another's. No more in a large one: those of who rests are to go.
    _ = ckvm_set_shadow_limit(vm.number, UInt32(clamping: max(frameCount / 50, 1024)))
    try setSlot(of: vm, size: size)
  }

  /// Takes the slot out and puts it back, whereupon KVM has forgotten every table it built. No vCPU may be in guest mode.
  func replaceSlot(of vm: borrowing Descriptor) throws(HostError) {
    try setSlot(of: vm, size: 0)
    try setSlot(of: vm, size: size)
  }

  private func setSlot(of vm: borrowing Descriptor, size: UInt64) throws(HostError) {
    let flags = size == 0 ? 0 : slotFlags.load(ordering: .relaxed)
    try check(
      "KVM_SET_USER_MEMORY_REGION",
      unsafe ckvm_set_memory(vm.number, 0, flags, PhysicalAddress.memoryBase, size, slot))
  }

  /// The address of `count` bytes at a physical address.
  private func pointer(_ address: PhysicalAddress, _ count: Int) -> UnsafeMutableRawPointer {
    let offset = address.value &- PhysicalAddress.memoryBase
    precondition(offset < size && UInt64(count) <= size - offset, "physical address out of range")
    return unsafe alias + Int(offset)
  }

  /// Whether the whole range is memory of this machine.
  func contains(_ address: PhysicalAddress, count: Int) -> Bool {
    let offset = address.value &- PhysicalAddress.memoryBase
    return offset < size && UInt64(count) <= size - offset
  }

  // --- words shared with the hardware or another thread

  private func word(_ address: PhysicalAddress) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(address.value & 7 == 0, "misaligned word")
    // Bound for the lifetime of the mapping; Atomic<UInt64> has the layout of UInt64.
    return unsafe pointer(address, 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
  func load(_ address: PhysicalAddress) -> UInt64 {
    unsafe word(address).pointee.load(ordering: .acquiring)
  }
  func store(_ value: UInt64, _ address: PhysicalAddress) {
    unsafe word(address).pointee.store(value, ordering: .releasing)
  }
  /// Returns whether the word held `expected` and now holds `desired`, and what it held.
  func compareExchange(_ address: PhysicalAddress, expected: UInt64, desired: UInt64) -> (
    exchanged: Bool, original: UInt64
  ) {
    unsafe word(address).pointee.compareExchange(
      expected: expected, desired: desired, ordering: .acquiringAndReleasing)
  }
  func exchange(_ address: PhysicalAddress, _ value: UInt64) -> UInt64 {
    unsafe word(address).pointee.exchange(value, ordering: .acquiringAndReleasing)
  }
  private func half(_ address: PhysicalAddress) -> UnsafeMutablePointer<Atomic<UInt32>> {
    precondition(address.value & 3 == 0, "misaligned word")
    return unsafe pointer(address, 4).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
  func load32(_ address: PhysicalAddress) -> UInt32 {
    unsafe half(address).pointee.load(ordering: .acquiring)
  }
  func store32(_ value: UInt32, _ address: PhysicalAddress) {
    unsafe half(address).pointee.store(value, ordering: .releasing)
  }

  // --- bytes

  func write(_ bytes: UnsafeRawBufferPointer, at address: PhysicalAddress) {
    guard bytes.count > 0 else { return }
    unsafe pointer(address, bytes.count).copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
  }
  func write(_ bytes: ArraySlice<UInt8>, at address: PhysicalAddress) {
    unsafe bytes.withUnsafeBytes { unsafe write($0, at: address) }
  }
  func write<T: BitwiseCopyable>(_ value: T, at address: PhysicalAddress) {
    unsafe withUnsafeBytes(of: value) { unsafe write($0, at: address) }
  }
  func read(_ address: PhysicalAddress, into bytes: UnsafeMutableRawBufferPointer) {
    guard bytes.count > 0 else { return }
    unsafe bytes.baseAddress!.copyMemory(from: pointer(address, bytes.count), byteCount: bytes.count)
  }
  func appendBytes(_ address: PhysicalAddress, count: Int, to bytes: inout [UInt8]) {
    unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(start: pointer(address, count), count: count))
  }
  func zero(_ frame: Frame) {
    unsafe pointer(frame.address, 4096).initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
  }

  /// Where code that is made for it finds a range, while this object lives.
  func hostAddress(_ address: PhysicalAddress, count: Int) -> UInt64 {
    UInt64(UInt(bitPattern: unsafe pointer(address, count)))
  }

  /// The page of a frame, for the owner of a ring in it. The pointer lives as long as this object.
  func page(_ frame: Frame) -> UnsafeMutableRawPointer { unsafe pointer(frame.address, 4096) }

  // --- taking pages away

  /// Makes the hardware forget every translation to these frames, whoever holds it. The content stays.
  /// SUBSTRATE: the only operation that does so after a page-table entry was cleared or lowered.
  func dropTranslations(_ runs: [FrameRuns.Run]) throws(HostError) {
    let ranges = unsafe runs.map { run in
      let (offset, length) = (UInt64(run.first.number) << 12, UInt64(run.count) << 12)
      precondition(offset < size && length <= size - offset, "frame out of range")
      return unsafe iovec(iov_base: slot + Int(offset), iov_len: Int(length))
    }
    // Each range was found to be within the slot.
    try check("madvise", unsafe ckvm_drop_translations(process.number, ranges, CInt(ranges.count)))
  }

  /// Has the host map a frame where KVM looks for it, which is some microseconds' work that the first access to it of a guest
  /// would wait for. KVM's own translations, which are what gives anybody access, do not change.
  func touch(_ frame: Frame) {
    let offset = UInt64(frame.number) << 12
    precondition(offset < size, "frame out of range")
    unsafe ckvm_touch(slot + Int(offset))
  }

  /// Takes write access away from every translation to these frames, by clearing their bits in the slot's dirty log:
  /// KVM then has the next write fault, and looks at the page table again. It removes nothing a read needs, and costs
  /// one flush however many frames. SUBSTRATE: not where the processor logs dirty pages itself.
  ///
  /// - Parameter runs: in order, and apart.
  func writeProtect(_ runs: [FrameRuns.Run], vm: borrowing Descriptor) throws(HostError) {
    var next = 0
    while next < runs.count {
      // The log is cleared in words of 64 frames. Runs that are not far apart go together, which costs a flush less.
      let low = Int(runs[next].first.number) & ~63
      var bitmap: [UInt64] = []
      repeat {
        let first = Int(runs[next].first.number) - low
        let end = first + runs[next].count
        while bitmap.count * 64 < end { bitmap.append(0) }
        for bit in first..<end { bitmap[bit >> 6] |= 1 << UInt64(bit & 63) }
        next += 1
      } while next < runs.count && Int(runs[next].first.number) - low - bitmap.count * 64 < Self.bitmapGap
      // At the end of memory the last word may be short.
      let count = min(bitmap.count * 64, frameCount - low)
      try check(
        "KVM_CLEAR_DIRTY_LOG",
        unsafe ckvm_clear_dirty_log(vm.number, 0, UInt64(low), UInt32(count), bitmap))
    }
  }
  /// Frames between two runs that one call still covers: 4 KiB of zero bits.
  private static let bitmapGap = 1 << 15
}
