import Synchronization

/// A small tree of files in memory that several environments share.
///
///     page 0       magic, lock; then a 16-bit link for each block: the next of its chain, `last`, or `free`
///     pages 1..8   256 nodes of 128 bytes: kind, parent, first block, size, name
///     the rest     blocks of 4 KiB
///
/// Whoever has it mapped writable can write nonsense into it. Every number that is read from it is read once and checked, and
/// no chain is followed further than there are blocks: what comes of nonsense is `corrupt`, or wrong bytes, and nothing else.
public struct FileTree: Sendable {
  public typealias Node = Int
  public enum Kind: UInt32, Sendable {
    case none = 0
    case directory = 1
    case file = 2
  }

  public static var longestName: Int { 100 }
  public static var root: Node { 0 }
  static var magic: UInt64 { 0x4558_4f46_494c_4553 }
  static var nodeCount: Int { 256 }
  static var nodeSize: UInt { 128 }
  static var nodesOffset: UInt { 4096 }
  static var blocksOffset: UInt { 9 * 4096 }
  static var linksOffset: UInt { 64 }
  static var mostBlocks: Int { 2000 }
  static var free: UInt16 { 0 }
  static var last: UInt16 { 0xffff }

  private let base: UInt
  private let blocks: Int

  /// - Parameters:
  ///   - base: where the memory lies in this environment.
  ///   - size: bytes, at least eleven pages.
  public init(at base: UInt, size: Int) {
    self.base = base
    blocks = min(max((size >> 12) - 9, 0), Self.mostBlocks)
  }

  /// Makes an empty tree of zeroed memory.
  public func format() {
    word(0).pointee.store(Self.magic, ordering: .relaxed)
    setKind(Self.root, .directory)
  }

  // MARK: - By path

  public func find(_ path: String) throws(FileError) -> Node {
    try locked { () throws(FileError) in
      let (directory, name) = try resolve(path)
      guard let name else { return directory }
      guard let node = try child(of: directory, name) else { throw .noEntry }
      return node
    }
  }

  /// Makes a file or a directory, or finds the file that is there.
  public func create(_ path: String, _ kind: Kind) throws(FileError) -> Node {
    try locked { () throws(FileError) in
      let (directory, name) = try resolve(path)
      guard let name else { throw kind == .file ? .isDirectory : .exists }
      if let there = try child(of: directory, name) {
        guard kind == .file else { throw .exists }
        guard try self.kind(there) == .file else { throw .isDirectory }
        return there
      }
      for node in 1..<Self.nodeCount where nodeWord(node, 0) == 0 {
        setNodeWord(node, 4, UInt32(directory))
        setNodeWord(node, 8, UInt32(Self.last))
        setNodeWord(node, 12, 0)
        setName(node, name)
        setKind(node, kind)
        return node
      }
      throw .full
    }
  }

  public func remove(_ path: String) throws(FileError) {
    try locked { () throws(FileError) in
      let (directory, name) = try resolve(path)
      guard let name, let node = try child(of: directory, name) else {
        throw name == nil ? .notEmpty : .noEntry
      }
      if try kind(node) == .directory {
        for other in 1..<Self.nodeCount where nodeWord(other, 0) != 0 && nodeWord(other, 4) == UInt32(node) {
          throw .notEmpty
        }
      }
      try releaseBlocks(node)
      setKind(node, .none)
    }
  }

  /// What lies in a directory: names, kinds and sizes in bytes.
  public func list(_ path: String) throws(FileError) -> [(name: String, kind: Kind, size: Int)] {
    let directory = try find(path)
    return try locked { () throws(FileError) in
      guard try kind(directory) == .directory else { throw .notDirectory }
      var found: [(name: String, kind: Kind, size: Int)] = []
      for node in 1..<Self.nodeCount where nodeWord(node, 0) != 0 && nodeWord(node, 4) == UInt32(directory) {
        found.append((String(decoding: name(node), as: UTF8.self), try kind(node), Int(nodeWord(node, 12))))
      }
      return found
    }
  }

  // MARK: - Content

  /// In bytes. One that no tree has room for is another environment's nonsense: `corrupt`.
  public func size(_ node: Node) throws(FileError) -> Int {
    let size = Int(try checked(node, 12))
    guard size <= blocks << 12 else { throw .corrupt }
    return size
  }
  public func isDirectory(_ node: Node) throws(FileError) -> Bool { try kind(node) == .directory }

  public func truncate(_ node: Node) throws(FileError) {
    try locked { () throws(FileError) in
      guard try kind(node) == .file else { throw .isDirectory }
      try releaseBlocks(node)
    }
  }

  /// Reads from a position on; 0 at the end.
  public func read(
    _ node: Node, at position: Int, into bytes: UnsafeMutableRawBufferPointer
  ) throws(FileError) -> Int {
    try locked { () throws(FileError) in
      guard try kind(node) == .file else { throw .isDirectory }
      let size = Int(nodeWord(node, 12))
      guard size <= blocks << 12 else { throw .corrupt }
      guard position >= 0, position < size else { return 0 }
      let total = min(bytes.count, size - position)
      var done = 0
      var block = try advance(UInt16(truncatingIfNeeded: nodeWord(node, 8)), position >> 12)
      while done < total {
        let offset = (position + done) & 4095
        let count = min(4096 - offset, total - done)
        (bytes.baseAddress.unsafelyUnwrapped + done).copyMemory(
          from: try place(block) + offset, byteCount: count)
        done += count
        if done < total { block = link(block) }
      }
      return total
    }
  }

  /// Writes from a position on, at most the file's end, and makes the file longer where need be.
  public func write(_ node: Node, at position: Int, _ bytes: UnsafeRawBufferPointer) throws(FileError) {
    try locked { () throws(FileError) in
      guard try kind(node) == .file else { throw .isDirectory }
      let size = Int(nodeWord(node, 12))
      guard size <= blocks << 12, position >= 0, position <= size else { throw .corrupt }
      var done = 0
      while done < bytes.count {
        let at = position + done
        let block = try blockForWriting(node, number: at >> 12)
        let count = min(4096 - at & 4095, bytes.count - done)
        (try place(block) + at & 4095).copyMemory(
          from: bytes.baseAddress.unsafelyUnwrapped + done, byteCount: count)
        done += count
        if at + count > Int(nodeWord(node, 12)) { setNodeWord(node, 12, UInt32(at + count)) }
      }
    }
  }

  // MARK: - Blocks

  private func blockForWriting(_ node: Node, number: Int) throws(FileError) -> UInt16 {
    var block = UInt16(truncatingIfNeeded: nodeWord(node, 8))
    if block == Self.last {
      guard number == 0 else { throw .corrupt }
      block = try takeBlock()
      setNodeWord(node, 8, UInt32(block))
      return block
    }
    for _ in 0..<number {
      _ = try place(block)
      var next = link(block)
      if next == Self.last {
        next = try takeBlock()
        setLink(block, next)
      }
      block = next
    }
    return block
  }
  private func takeBlock() throws(FileError) -> UInt16 {
    // Block numbers start from 1, so that 0 can mean free.
    for number in 1..<UInt16(max(blocks, 1)) where link(number) == Self.free {
      setLink(number, Self.last)
      try place(number).initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
      return number
    }
    throw .full
  }
  private func releaseBlocks(_ node: Node) throws(FileError) {
    var block = UInt16(truncatingIfNeeded: nodeWord(node, 8))
    setNodeWord(node, 8, UInt32(Self.last))
    setNodeWord(node, 12, 0)
    var left = blocks
    while block != Self.last, block != Self.free, left > 0 {
      _ = try place(block)
      let next = link(block)
      setLink(block, Self.free)
      block = next
      left -= 1
    }
  }
  private func advance(_ first: UInt16, _ steps: Int) throws(FileError) -> UInt16 {
    var block = first
    for _ in 0..<steps {
      _ = try place(block)
      block = link(block)
    }
    return block
  }
  private func place(_ block: UInt16) throws(FileError) -> UnsafeMutableRawPointer {
    guard block > 0, Int(block) < blocks else { throw .corrupt }
    return UnsafeMutableRawPointer(bitPattern: base + Self.blocksOffset + UInt(block) * 4096)
      .unsafelyUnwrapped
  }

  // MARK: - Paths

  /// The directory and the last name; no name for the root itself.
  private func resolve(_ path: String) throws(FileError) -> (Node, [UInt8]?) {
    var parts: [[UInt8]] = [[]]
    for byte in path.utf8 {
      if byte == 0x2f {
        if !parts[parts.count - 1].isEmpty { parts.append([]) }
      } else {
        parts[parts.count - 1].append(byte)
      }
    }
    if parts[parts.count - 1].isEmpty { parts.removeLast() }
    guard let last = parts.last else { return (Self.root, nil) }
    var directory = Self.root
    for part in parts {
      guard part.count <= Self.longestName else { throw .badPath }
      // There is no way up but from the root.
      guard part != [0x2e], part != [0x2e, 0x2e] else { throw .badPath }
    }
    for part in parts.dropLast() {
      guard let next = try child(of: directory, part) else { throw .noEntry }
      guard try kind(next) == .directory else { throw .notDirectory }
      directory = next
    }
    return (directory, last)
  }
  private func child(of directory: Node, _ name: [UInt8]) throws(FileError) -> Node? {
    for node in 1..<Self.nodeCount where nodeWord(node, 0) != 0 && nodeWord(node, 4) == UInt32(directory) {
      if self.name(node) == name { return node }
    }
    return nil
  }

  // MARK: - Words

  /// Runs `body` alone. One who dies with the lock does not stop the others for ever.
  private func locked<R>(_ body: () throws(FileError) -> R) throws(FileError) -> R {
    let lock = word(8)
    var tries = 0
    while lock.pointee.exchange(1, ordering: .acquiring) != 0 {
      tries += 1
      if tries > 5_000_000 { break }
    }
    defer { lock.pointee.store(0, ordering: .releasing) }
    guard word(0).pointee.load(ordering: .relaxed) == Self.magic else { throw .corrupt }
    return try body()
  }

  private func word(_ offset: UInt) -> UnsafeMutablePointer<Atomic<UInt64>> {
    UnsafeMutablePointer(bitPattern: base + offset).unsafelyUnwrapped
  }
  private func nodePlace(_ node: Node, _ offset: UInt) -> UnsafeMutablePointer<UInt32> {
    UnsafeMutablePointer(bitPattern: base + Self.nodesOffset + UInt(node) * Self.nodeSize + offset)
      .unsafelyUnwrapped
  }
  private func nodeWord(_ node: Node, _ offset: UInt) -> UInt32 { nodePlace(node, offset).pointee }
  private func setNodeWord(_ node: Node, _ offset: UInt, _ value: UInt32) {
    nodePlace(node, offset).pointee = value
  }
  private func checked(_ node: Node, _ offset: UInt) throws(FileError) -> UInt32 {
    guard node >= 0, node < Self.nodeCount else { throw .noEntry }
    return nodeWord(node, offset)
  }
  private func kind(_ node: Node) throws(FileError) -> Kind {
    guard let kind = Kind(rawValue: try checked(node, 0)) else { throw .corrupt }
    return kind
  }
  private func setKind(_ node: Node, _ kind: Kind) { setNodeWord(node, 0, kind.rawValue) }
  private func name(_ node: Node) -> [UInt8] {
    let bytes = UnsafePointer<UInt8>(bitPattern: base + Self.nodesOffset + UInt(node) * Self.nodeSize + 20)
      .unsafelyUnwrapped
    let count = Int(min(nodeWord(node, 16), UInt32(Self.longestName)))
    return (0..<count).map { bytes[$0] }
  }
  private func setName(_ node: Node, _ name: [UInt8]) {
    let bytes = UnsafeMutablePointer<UInt8>(
      bitPattern: base + Self.nodesOffset + UInt(node) * Self.nodeSize + 20
    ).unsafelyUnwrapped
    for index in name.indices { bytes[index] = name[index] }
    setNodeWord(node, 16, UInt32(name.count))
  }
  private func link(_ block: UInt16) -> UInt16 {
    UnsafePointer<UInt16>(bitPattern: base + Self.linksOffset + UInt(block) * 2).unsafelyUnwrapped.pointee
  }
  private func setLink(_ block: UInt16, _ next: UInt16) {
    UnsafeMutablePointer<UInt16>(bitPattern: base + Self.linksOffset + UInt(block) * 2).unsafelyUnwrapped
      .pointee = next
  }
}
