import Foundation
import Testing

@testable import Exo

/// A small freestanding program in C, compiled and linked as guests are, and what is known of it without its
/// symbols: addresses it carries in a note.
struct SymbolProgram {
  let bytes: [UInt8]
  /// By name: `_start`, `fault`, `add`, `store` of line 15, and `inlined` of line 19.
  let addresses: [String: GuestAddress]

  static let source = """
    typedef unsigned long word;
    extern char store[], inlined[];
    int fault(int *), add(int, int);
    void _start(void);
    __attribute__((section(".note.exo"), used, aligned(4))) static const struct __attribute__((packed)) {
      unsigned a, b, c; char d[4]; unsigned e; unsigned f, g, h; char i[4]; word j[5];
    } note = {4, 4, 1, "Exo", VERSION, 4, 40, 77, "Exo",
      {(word)_start, (word)fault, (word)add, (word)store, (word)inlined}};
    __attribute__((noinline)) int add(int a, int b) {
      __asm__ volatile("");
      return a + b;
    }
    __attribute__((noinline)) int fault(int *p) {
      __asm__ volatile("");
      __asm__ volatile(".local store\\nstore: movl $7, (%0)" :: "r"(p) : "memory");
      return add(*p, 1);
    }
    static inline __attribute__((always_inline)) void deep(void) {
      __asm__ volatile("inlined: nop");
    }
    static inline __attribute__((always_inline)) void middle(void) {
      deep();
    }
    void _start(void) {
      fault((int *)0);
      middle();
      for (;;) __asm__ volatile("pause");
    }
    """

  static let clang: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    .map { "\($0)/clang" }.first { FileManager.default.isExecutableFile(atPath: $0) }
  /// Tests that need it run where it is, and fail where it is demanded.
  static var isExpected: Bool {
    let required = ProcessInfo.processInfo.environment["EXO_REQUIRE"] ?? ""
    return clang != nil || required.split(separator: ",").contains("clang")
  }

  init(dwarf: Int, abiVersion: UInt32 = 1) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("exo-symbols-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("program.c")
    let output = folder.appendingPathComponent("program")
    try Self.source.write(to: file, atomically: true, encoding: .utf8)

    let process = Process()
    process.executableURL = URL(
      fileURLWithPath: try #require(Self.clang, "put the toolchain's clang on PATH"))
    process.arguments = [
      "--target=x86_64-unknown-linux-gnu", "-gdwarf-\(dwarf)", "-O1", "-fno-omit-frame-pointer",
      "-ffreestanding", "-nostdlib", "-static",
      "-fuse-ld=lld", "-DVERSION=\(abiVersion)", "-Wl,--image-base=0x400000", "-Wl,-zmax-page-size=4096",
      "-Wl,-zseparate-code", "-Wl,-znorelro", "-Wl,--build-id=none", "-o", output.path, file.path,
    ]
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "clang refused the program")
    bytes = Array(try Data(contentsOf: output))

    var addresses: [String: GuestAddress] = [:]
    let header = try ImageHeader(bytes)
    for program in try header.programHeaders(in: bytes) where program.type == .note {
      var notes = ImageNotes(
        ByteReader(bytes, in: try program.fileRange(fileSize: bytes.count)), alignment: 4)
      while let note = notes.next() {
        guard note.type == 77 else { continue }
        var content = note.content
        for name in ["_start", "fault", "add", "store", "inlined"] {
          addresses[name] = content.u64().map { GuestAddress($0) }
        }
      }
    }
    self.addresses = addresses
  }

  func address(_ name: String) throws -> GuestAddress { try #require(addresses[name]) }
}
