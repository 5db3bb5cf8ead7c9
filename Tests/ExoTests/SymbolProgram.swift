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
    let clang = try #require(Self.clang, "put the toolchain's clang on PATH")
    bytes = try Self.build("program.c", Self.source) { file, output in
      try Self.run(clang, Self.linking + ["-gdwarf-\(dwarf)", "-DVERSION=\(abiVersion)", "-o", output, file])
    }
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

  /// A program of one Swift function that traps, for one reason: `arithmetic overflow` in line 4.
  static func swiftTrap(dwarf: Int) throws -> [UInt8] {
    let source = """
      @_cdecl("_start")
      public func start(_ numbers: UnsafeMutablePointer<Int>) {
        numbers[0] &+= 3
        numbers[1] += 1
      }
      """
    let clang = try #require(Self.clang, "put the toolchain's clang on PATH")
    return try build("trap.swift", source) { file, output in
      try run(
        clang.dropLast("clang".count) + "swiftc",
        [
          "-target", "x86_64-unknown-linux-gnu", "-enable-experimental-feature", "Embedded",
          "-parse-as-library",
          "-wmo", "-O", "-Xfrontend", "-function-sections", "-Xfrontend", "-disable-stack-protector", "-g",
          "-dwarf-version=\(dwarf)", "-c", file, "-o", output + ".o",
        ])
      try run(clang, linking + ["-o", output, output + ".o"])
    }
  }

  /// As guests are linked.
  private static let linking = [
    "--target=x86_64-unknown-linux-gnu", "-O1", "-fno-omit-frame-pointer", "-ffreestanding", "-nostdlib",
    "-static", "-fuse-ld=lld", "-Wl,--image-base=0x400000", "-Wl,-zmax-page-size=4096", "-Wl,-zseparate-code",
    "-Wl,-znorelro", "-Wl,--gc-sections", "-Wl,--build-id=none",
  ]

  /// What `compile` makes of a source file, in a folder that is gone afterwards.
  private static func build(
    _ name: String, _ source: String, compile: (_ file: String, _ output: String) throws -> Void
  ) throws -> [UInt8] {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("exo-symbols-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent(name)
    let output = folder.appendingPathComponent("program")
    try source.write(to: file, atomically: true, encoding: .utf8)
    try compile(file.path, output.path)
    return Array(try Data(contentsOf: output))
  }

  private static func run(_ tool: some StringProtocol, _ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: String(tool))
    process.arguments = arguments
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(tool) refused the program")
  }
}
