import ExoABI

/// What the guests of the model test run: for each probe address it reads a word, writes one and calls some code there,
/// over and over, and tells what it saw. Raw instructions, so that nothing but the probes touches memory.
///
///     command page                                      a probe: 64 bytes
///      0  epoch, raised by the test after each change    0  address
///      8  probes in use (32 bits)                         8  epoch and outcome told last, for each of
///     16  records written (32 bits)                          read, write, execution
///     24  records taken, by the test (32 bits)
///     32  written to pages, with the epoch              a record: 32 bytes
///     40  where in a page (32 bits)                      0  epoch as it was before the access
///     48  passes made                                    8  outcome: the word read, 0 written, number returned; -1 fault
///    128  probes                                        16  0 read, 1 write, 2 execution
///   4096  512 records                                   24  address
///
/// A record is left out if it repeats the one before it of the same probe, kind and epoch.
enum ModelProgram {
  static let commandPage: UInt64 = 0x2000_0000
  static let recordCount: UInt32 = 512
  static let code: UInt64 = 0x40_0000
  /// Two handlers of #PF that do the same, to be bound in turn: each makes a fault the outcome of the access.
  static let handlers: [UInt64] = [code + 0x200, code + 0x240]
  /// While the word there is zero the guest waits.
  static let goAhead = exo_stack_top - 16

  private static let instructions: [[UInt8]] = [
    [0xbb, 0x00, 0x00, 0x00, 0x20],  // mov $0x20000000,%ebx
    [0x49, 0x89, 0xe5],  // mov %rsp,%r13
    // wait:
    [0xf3, 0x90],  // pause
    [0x49, 0x83, 0x7d, 0xf0, 0x00],  // cmpq $0x0,-0x10(%r13)
    [0x74, 0xf7],  // je <wait>
    // pass:
    [0x48, 0xff, 0x43, 0x30],  // incq 0x30(%rbx)
    [0x44, 0x8b, 0x63, 0x08],  // mov 0x8(%rbx),%r12d
    [0x48, 0x8d, 0xab, 0x80, 0x00, 0x00, 0x00],  // lea 0x80(%rbx),%rbp
    [0x45, 0x85, 0xe4],  // test %r12d,%r12d
    [0x74, 0xec],  // je <pass>
    // probe:
    [0x48, 0x8b, 0x7d, 0x00],  // mov 0x0(%rbp),%rdi
    [0x4c, 0x8b, 0x1b],  // mov (%rbx),%r11
    [0x4c, 0x8d, 0x3d, 0x03, 0x00, 0x00, 0x00],  // lea read_done, %r15
    [0x48, 0x8b, 0x07],  // mov (%rdi),%rax
    // read_done:
    [0x31, 0xd2],  // xor %edx,%edx
    [0x48, 0x8d, 0x75, 0x08],  // lea 0x8(%rbp),%rsi
    [0xe8, 0x5d, 0x00, 0x00, 0x00],  // call <log>
    [0x4c, 0x8b, 0x1b],  // mov (%rbx),%r11
    [0x4c, 0x8d, 0x3d, 0x11, 0x00, 0x00, 0x00],  // lea write_done, %r15
    [0x4c, 0x89, 0xd9],  // mov %r11,%rcx
    [0x48, 0x0b, 0x4b, 0x20],  // or 0x20(%rbx),%rcx
    [0x44, 0x8b, 0x53, 0x28],  // mov 0x28(%rbx),%r10d
    [0x31, 0xc0],  // xor %eax,%eax
    [0x4a, 0x89, 0x0c, 0x17],  // mov %rcx,(%rdi,%r10,1)
    // write_done:
    [0xba, 0x01, 0x00, 0x00, 0x00],  // mov $0x1,%edx
    [0x48, 0x8d, 0x75, 0x18],  // lea 0x18(%rbp),%rsi
    [0xe8, 0x34, 0x00, 0x00, 0x00],  // call <log>
    [0x4c, 0x8b, 0x1b],  // mov (%rbx),%r11
    [0x4c, 0x8d, 0x3d, 0x0b, 0x00, 0x00, 0x00],  // lea call_done, %r15
    [0x48, 0x8d, 0x8f, 0x00, 0x08, 0x00, 0x00],  // lea 0x800(%rdi),%rcx
    [0x31, 0xc0],  // xor %eax,%eax
    [0xff, 0xd1],  // call *%rcx
    // call_done:
    [0x4c, 0x89, 0xec],  // mov %r13,%rsp
    [0xba, 0x02, 0x00, 0x00, 0x00],  // mov $0x2,%edx
    [0x48, 0x8d, 0x75, 0x28],  // lea 0x28(%rbp),%rsi
    [0xe8, 0x0e, 0x00, 0x00, 0x00],  // call <log>
    [0x48, 0x83, 0xc5, 0x40],  // add $0x40,%rbp
    [0x41, 0xff, 0xcc],  // dec %r12d
    [0x75, 0x8c],  // jne <probe>
    [0xe9, 0x73, 0xff, 0xff, 0xff],  // jmp <pass>
    // log:
    [0x4c, 0x39, 0x1e],  // cmp %r11,(%rsi)
    [0x75, 0x07],  // jne <log+0xc>
    [0x48, 0x39, 0x46, 0x08],  // cmp %rax,0x8(%rsi)
    [0x75, 0x01],  // jne <log+0xc>
    [0xc3],  // ret
    [0x4c, 0x89, 0x1e],  // mov %r11,(%rsi)
    [0x48, 0x89, 0x46, 0x08],  // mov %rax,0x8(%rsi)
    [0x8b, 0x4b, 0x10],  // mov 0x10(%rbx),%ecx
    [0x41, 0x89, 0xc9],  // mov %ecx,%r9d
    [0x44, 0x2b, 0x4b, 0x18],  // sub 0x18(%rbx),%r9d
    [0x41, 0x81, 0xf9, 0x00, 0x02, 0x00, 0x00],  // cmp $0x200,%r9d
    [0x72, 0x04],  // jb <log+0x2a>
    [0xf3, 0x90],  // pause
    [0xeb, 0xe9],  // jmp <log+0x13>
    [0x41, 0x89, 0xc9],  // mov %ecx,%r9d
    [0x41, 0x81, 0xe1, 0xff, 0x01, 0x00, 0x00],  // and $0x1ff,%r9d
    [0x41, 0xc1, 0xe1, 0x05],  // shl $0x5,%r9d
    [0x4e, 0x8d, 0x8c, 0x0b, 0x00, 0x10, 0x00, 0x00],  // lea 0x1000(%rbx,%r9,1),%r9
    [0x4d, 0x89, 0x19],  // mov %r11,(%r9)
    [0x49, 0x89, 0x41, 0x08],  // mov %rax,0x8(%r9)
    [0x49, 0x89, 0x51, 0x10],  // mov %rdx,0x10(%r9)
    [0x49, 0x89, 0x79, 0x18],  // mov %rdi,0x18(%r9)
    [0xff, 0xc1],  // inc %ecx
    [0x89, 0x4b, 0x10],  // mov %ecx,0x10(%rbx)
    [0xc3],  // ret
  ]
  private static let handler: [[UInt8]] = [
    [0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff],  // mov $0xffffffffffffffff,%rax
    [0x4c, 0x89, 0x7c, 0x24, 0x08],  // mov %r15,0x8(%rsp)
    [0x48, 0x83, 0xc4, 0x08],  // add $0x8,%rsp
    [0x48, 0xcf],  // iretq
  ]

  /// An executable with these instructions.
  static var image: [UInt8] {
    var text = Array(instructions.joined())
    for address in handlers {
      text += [UInt8](repeating: 0xcc, count: Int(address - code) - text.count)
      text += handler.joined()
    }
    let note =
      words(4, 4, UInt32(EXO_NOTE_ABI)) + Array(EXO_NOTE_NAME.utf8) + [0] + words(UInt32(EXO_ABI_VERSION))
    var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
    // An executable for x86-64, version 1; entry; program headers at 64; no sections, no flags.
    file += words(62 << 16 | 2, 1) + longs(code, 64, 0) + words(0, 56 << 16 | 64, 2, 0)
    file += words(1, 5) + longs(0x1000, code, code, UInt64(text.count), UInt64(text.count), 4096)
    file += words(4, 4) + longs(0x200, 0, 0, UInt64(note.count), UInt64(note.count), 4)
    file += [UInt8](repeating: 0, count: 0x200 - file.count) + note
    file += [UInt8](repeating: 0, count: 0x1000 - file.count) + text
    return file
  }
  private static func words(_ values: UInt32...) -> [UInt8] { values.flatMap(little) }
  private static func longs(_ values: UInt64...) -> [UInt8] { values.flatMap(little) }
  private static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
  }
}
