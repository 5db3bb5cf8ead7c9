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
}

/// Runs code that was compiled for packets, by its address in an arena that lives. Open to be compiled into whoever classifies: the call
/// would take longer than some of the work.
@usableFromInline enum CompiledFilters {
  @inlinable static func run(at address: UInt64, _ packet: Span<UInt8>) -> UInt64 {
    // The code reads below the length it is given and writes nothing.
    unsafe packet.withUnsafeBytes { bytes in
      unsafe ckvm_run_classifier(address, bytes.baseAddress, UInt64(bytes.count))
    }
  }
  /// - Precondition: `ranks` has an element for each range, and all ranges are within the bytes.
  @inlinable static func run(
    at address: UInt64, _ bytes: [UInt8], _ ranges: [Range<Int>], _ ranks: inout [UInt64]
  ) -> Int {
    // A range is two words, its first byte and the one after its last. The code reads within the ranges that it is given, and
    // writes as many ranks.
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe ranges.withUnsafeBytes { places in
        unsafe ranks.withUnsafeMutableBytes { ranks in
          unsafe Int(
            ckvm_run_batch_classifier(
              address, bytes.baseAddress, places.baseAddress, UInt64(places.count / 16), ranks.baseAddress))
        }
      }
    }
  }
}
