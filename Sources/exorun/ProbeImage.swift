import Exo
import ExoABI

/// A few instructions as a guest: one page of text and the note that says which ABI it speaks.
enum ProbeImage {
  /// `syscall`, and an invalid instruction should it come back.
  static let systemCall: [UInt8] = [0x0f, 0x05, 0x0f, 0x0b]

  /// Leaves the guest `count` times by having its ring served, then ends by an invalid instruction.
  static func exits(_ count: UInt32) -> [UInt8] {
    [0xb9] + bytes(count)  // mov $count, %ecx
      + [0x48, 0xb8] + bytes(exo_kit_doorbell + UInt64(EXO_DOORBELL_SERVE))  // movabs $doorbell, %rax
      + [0xc7, 0x00, 0, 0, 0, 0]  // 1: movl $0, (%rax)
      + [0xff, 0xc9, 0x75, 0xf6]  // dec %ecx; jnz 1b
      + [0x0f, 0x0b]  // ud2
  }

  /// Reads the time-stamp counter into RAX first of all, and ends by an invalid instruction: the report tells it.
  static let first: [UInt8] = [
    0x0f, 0x31,  // rdtsc
    0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,  // shl $32, %rdx; or %rdx, %rax
    0x0f, 0x0b,  // ud2
  ]

  /// Sleeps for ever, for what it has not asked.
  static var sleeps: [UInt8] {
    [0x48, 0xb8] + bytes(exo_kit_doorbell + UInt64(EXO_DOORBELL_WAIT))  // movabs $doorbell, %rax
      + [0xc7, 0x00] + bytes(UInt32(1000))  // 1: movl $1000, (%rax)
      + [0xeb, 0xf8]  // jmp 1b
  }

  /// The image, for the entry's code.
  static func make(_ name: String, _ code: [UInt8]) throws(ImageError) -> GuestImage {
    let (base, headers, note, text) = (UInt64(0x400000), UInt64(64), UInt64(176), UInt64(256))
    // ELF header: 64-bit, little-endian, executable, x86-64.
    var image: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + Array(repeating: 0, count: 9)
    image += bytes(UInt16(2)) + bytes(UInt16(62)) + bytes(UInt32(1)) + bytes(base + text) + bytes(headers)
    image += bytes(UInt64(0)) + bytes(UInt32(0))
    for half in [64, 56, 2, 0, 0, 0] as [UInt16] { image += bytes(half) }
    // Program headers: type, flags, offset, two addresses, two sizes, alignment.
    let size = text + UInt64(code.count)
    for (type, flags, offset, size, alignment) in [
      (UInt32(1), UInt32(5), UInt64(0), size, UInt64(4096)), (4, 4, note, 20, 4),
    ] {
      image += bytes(type) + bytes(flags)
      for word in [offset, base + offset, base + offset, size, size, alignment] { image += bytes(word) }
    }
    image +=
      bytes(UInt32(4)) + bytes(UInt32(4)) + bytes(UInt32(EXO_NOTE_ABI)) + Array(EXO_NOTE_NAME.utf8) + [0]
    image += bytes(UInt32(EXO_ABI_VERSION))
    image += Array(repeating: 0, count: Int(text) - image.count)
    return try GuestImage(name: name, bytes: image + code)
  }

  /// Low byte first.
  private static func bytes<T: FixedWidthInteger & UnsignedInteger>(_ value: T) -> [UInt8] {
    (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> T($0 * 8)) }
  }
}
