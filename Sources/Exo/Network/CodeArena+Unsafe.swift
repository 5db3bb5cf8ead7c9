import CKVM

/// Room for code that is made while the program runs. It is seen at two addresses, one to write and one to execute it, so that
/// nothing is ever both; what has been executed is never written again.
@safe final class CodeArena {
  // Invariant: both map the same `size` bytes, from init to deinit.
  private let writable: UnsafeMutableRawPointer
  private let executable: UnsafeMutableRawPointer
  let size: Int
  /// The first bytes are left out: 0 is no place.
  private(set) var used = 16

  /// Nil where the host's system refuses memory that becomes executable.
  init?(size: Int) {
    var (writable, executable): (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) = (nil, nil)
    // Fills both, or fails.
    let result = unsafe ckvm_code_memory(UInt64(size), &writable, &executable)
    guard result >= 0, let writable = unsafe writable, let executable = unsafe executable else { return nil }
    unsafe self.writable = writable
    unsafe self.executable = executable
    self.size = size
  }
  deinit {
    unsafe ckvm_unmap(writable, UInt64(size))
    unsafe ckvm_unmap(executable, UInt64(size))
  }

  /// Where code is executed that lies at place 0.
  var base: UInt64 { UInt64(UInt(bitPattern: unsafe executable)) }

  /// Adds code; returns its place, nil if there is no room.
  func append(_ code: [UInt8]) -> UInt32? {
    guard code.count <= size - used else { return nil }
    // Within the arena, and beyond all that was given out before.
    unsafe (writable + used).copyMemory(from: code, byteCount: code.count)
    let place = UInt32(used)
    used = min(size, (used + code.count + 15) & ~15)
    return place
  }

  /// Runs code that was compiled for a packet. Not of an instance: the time to count references is half of what is left.
  /// - Parameter address: of a block in an arena that lives.
  static func run(at address: UInt64, _ packet: Span<UInt8>) -> UInt64 {
    // The code reads below the length it is given and writes nothing.
    unsafe packet.withUnsafeBytes { bytes in
      unsafe ckvm_run_classifier(address, bytes.baseAddress, UInt64(bytes.count))
    }
  }
}
