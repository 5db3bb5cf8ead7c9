import Testing

@testable import ExosProcessHost

@Suite struct FileTreeTests {
  private final class Memory {
    let block: UnsafeMutableRawPointer
    let size: Int
    let tree: FileTree
    init(pages: Int = 40) {
      size = pages * 4096
      block = .allocate(byteCount: size, alignment: 4096)
      block.initializeMemory(as: UInt8.self, repeating: 0, count: size)
      tree = FileTree(at: UInt(bitPattern: block), size: size)
      tree.format()
    }
    deinit { block.deallocate() }
  }

  private func write(_ tree: FileTree, _ path: String, _ bytes: [UInt8], at position: Int = 0) throws {
    let node = try tree.create(path, .file)
    try bytes.withUnsafeBytes { bytes in try tree.write(node, at: position, bytes) }
  }
  private func read(_ tree: FileTree, _ path: String) throws -> [UInt8] {
    let node = try tree.find(path)
    var bytes = [UInt8](repeating: 0, count: try tree.size(node))
    let count = try bytes.withUnsafeMutableBytes { bytes in try tree.read(node, at: 0, into: bytes) }
    return Array(bytes[..<count])
  }

  @Test func whatIsWrittenIsRead() throws {
    let memory = Memory()
    let bytes = (0..<30_000).map { pattern($0) }
    try write(memory.tree, "/a", bytes)
    #expect(try read(memory.tree, "/a") == bytes)
    try write(memory.tree, "/a", [9, 9], at: 4095)
    #expect(try read(memory.tree, "a")[4094...4097] == [bytes[4094], 9, 9, bytes[4097]])
    try write(memory.tree, "/a", [1, 2], at: 30_000)
    #expect(try memory.tree.size(try memory.tree.find("/a")) == 30_002)
    try memory.tree.truncate(try memory.tree.find("/a"))
    #expect(try read(memory.tree, "/a") == [])
  }

  @Test func directoriesHoldFiles() throws {
    let memory = Memory()
    let tree = memory.tree
    _ = try tree.create("/d", .directory)
    _ = try tree.create("/d/e", .directory)
    try write(tree, "/d/e/f", [1, 2, 3])
    #expect(try tree.list("/d").map { $0.name } == ["e"])
    #expect(try tree.list("/d/e").map { $0.size } == [3])
    #expect(throws: FileError.notEmpty) { try tree.remove("/d/e") }
    #expect(throws: FileError.exists) { try tree.create("/d", .directory) }
    #expect(throws: FileError.notDirectory) { try tree.create("/d/e/f/g", .file) }
    #expect(throws: FileError.isDirectory) { try tree.create("/d", .file) }
    #expect(throws: FileError.noEntry) { try tree.find("/d/x") }
    #expect(throws: FileError.badPath) { try tree.find("/d/../d") }
    try tree.remove("/d/e/f")
    try tree.remove("/d/e")
    #expect(try tree.list("/d").isEmpty)
    #expect(throws: FileError.notEmpty) { try tree.remove("/") }
  }

  @Test func aFullTreeSaysSo() throws {
    let memory = Memory(pages: 14)
    #expect(throws: FileError.full) { try write(memory.tree, "/a", [UInt8](repeating: 1, count: 20_000)) }
    try memory.tree.remove("/a")
    try write(memory.tree, "/b", [UInt8](repeating: 1, count: 16_000))
    let nodes = Memory()
    #expect(throws: FileError.full) { for index in 0..<300 { _ = try nodes.tree.create("/\(index)", .file) } }
    for index in 0..<255 { try nodes.tree.remove("/\(index)") }
    #expect(try nodes.tree.list("/").isEmpty)
  }

  /// Somebody who shares the tree writes nonsense everywhere. Whatever comes, every call ends, and touches nothing else.
  @Test func nonsenseEndsInErrors() {
    var random: UInt64 = 11
    func next(_ bound: UInt64) -> UInt64 {
      random ^= random << 13
      random ^= random >> 7
      random ^= random << 17
      return random % bound
    }
    for _ in 0..<300 {
      let memory = Memory(pages: 20)
      try? write(memory.tree, "/a", [UInt8](repeating: 1, count: 12_000))
      _ = try? memory.tree.create("/d", .directory)
      try? write(memory.tree, "/d/b", [UInt8](repeating: 1, count: 5000))
      for _ in 0..<30 {
        // Links, nodes; the lock is left alone, which only costs time.
        let at = 64 + Int(next(9 * 4096 - 64))
        memory.block.storeBytes(of: UInt8(truncatingIfNeeded: next(256)), toByteOffset: at, as: UInt8.self)
        if next(4) == 0 {
          memory.block.storeBytes(
            of: UInt32(truncatingIfNeeded: random),
            toByteOffset: 4096 + Int(next(4)) * 128 + Int(next(5)) * 4, as: UInt32.self)
        }
        try? write(memory.tree, "/a", [UInt8](repeating: 2, count: Int(next(9000))), at: Int(next(12_000)))
        _ = try? read(memory.tree, "/d/b")
        _ = try? memory.tree.list("/")
        if next(8) == 0 { try? memory.tree.remove("/d/b") }
        if next(8) == 0, let node = try? memory.tree.find("/a") { try? memory.tree.truncate(node) }
      }
    }
  }
}
